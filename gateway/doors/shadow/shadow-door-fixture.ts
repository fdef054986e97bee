/** What the tests of the shadow topics share: the door over real shadows and a real outbox. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAwsRequest } from '@holdfast/protos/mqtt/aws-topics';
import { parseTopic } from '@holdfast/protos/mqtt/topics';
import { openStore } from '@holdfast/provisioning/storage/store';
import type { Test } from 'tap';
import type { OutboundMessage } from '../../broker/broker.js';
import { shadowChanged } from '../../shadows/shadow-change.js';
import { performShadowChanges } from '../../shadows/shadow-effects.js';
import { openShadows, type ShadowsOptions } from '../../shadows/shadows.js';
import { Outbox } from '../../store/outbox.js';
import { siteMigrations } from '../../store/site-migrations.js';
import { siteStore } from '../../store/site-store.js';
import { shadowDoor } from './shadow-door.js';
import { awsShadowTopics, nativeShadowTopics } from './shadow-topic-set.js';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const noLane = { appended: () => undefined };

/** `hears` says of a topic whether anybody is subscribed to it. */
export const openDoor = async (
  t: Test,
  options?: ShadowsOptions,
  hears: (topic: string) => boolean = (topic) => topic.startsWith('dt/'),
) => {
  const folder = await mkdtemp(join(tmpdir(), 'shadow-door-'));
  const store = await openStore({
    path: join(folder, 'site.db'),
    migrations: siteMigrations,
    log: silent,
  });
  const outbox = new Outbox({ store, log: silent });
  const site = siteStore({ store, outbox, lanes: { audit: noLane, state: noLane } });
  const clock = { now: () => 5_000, trusted: true, monotonic: () => 0 };
  const shadows = await openShadows({ site, clock, log: store.log }, options);
  const online = new Set(['pi-1']);
  const fence = { isFenced: false };
  const published: [string, unknown][] = [];
  const door = shadowDoor({
    shadows,
    publish: async ({ topic, payload, qos }: OutboundMessage) => {
      t.equal(qos, 1);
      published.push([topic, JSON.parse(Buffer.from(payload).toString())]);
    },
    isHeard: (topic) => hears(topic),
    isConnected: (device) => online.has(device),
    isFenced: () => fence.isFenced,
    now: clock.now,
  });
  outbox.register(shadowChanged, performShadowChanges([door]));
  outbox.start();
  t.teardown(async () => {
    await outbox.close();
    await store.close();
    await rm(folder, { recursive: true });
  });
  return {
    shadows,
    online,
    fence,
    door,
    /** Publishes as a device, and says what that led to. */
    async send(text: string, payload: unknown): Promise<[string, unknown][]> {
      const isAws = text.startsWith('$aws/');
      const topic = isAws ? parseAwsRequest(text) : parseTopic(text);
      if (topic?.kind !== 'shadow_request') throw new Error(`${text} is no shadow request`);
      await door.handle({
        topic,
        set: isAws ? awsShadowTopics : nativeShadowTopics,
        payload: Buffer.isBuffer(payload)
          ? payload
          : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
        sessionId: 'session-1',
      });
      await outbox.idle();
      return published.splice(0);
    },
    async told(): Promise<[string, unknown][]> {
      await outbox.idle();
      return published.splice(0);
    },
  };
};
