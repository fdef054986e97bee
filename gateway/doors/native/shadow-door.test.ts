import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseTopic } from '@holdfast/protos/mqtt/topics';
import { zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { emptyShadow, mintOperations } from '@holdfast/protos/semantics/shadow-merge';
import { openStore } from '@holdfast/provisioning/storage/store';
import t, { type Test } from 'tap';
import type { OutboundMessage } from '../../broker/broker.js';
import { shadowChanged } from '../../shadows/shadow-change.js';
import { performShadowChanges } from '../../shadows/shadow-effects.js';
import { openShadows, type ShadowsOptions } from '../../shadows/shadows.js';
import { Outbox } from '../../store/outbox.js';
import { siteMigrations } from '../../store/site-migrations.js';
import { siteStore } from '../../store/site-store.js';
import { shadowDoor } from './shadow-door.js';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const noLane = { appended: () => undefined };

const byToken = (a: unknown, b: unknown): number =>
  JSON.stringify(a) > JSON.stringify(b) ? 1 : -1;

/** A door over real shadows and a real outbox, and what it published. */
const openDoor = async (t: Test, options?: ShadowsOptions) => {
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
    async send(topic: string, payload: unknown): Promise<[string, unknown][]> {
      const parsed = parseTopic(topic);
      if (parsed?.kind !== 'shadow_request') throw new Error(`${topic} is no shadow request`);
      await door.handle(
        parsed,
        Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
      );
      await outbox.idle();
      return published.splice(0);
    },
    async told(): Promise<[string, unknown][]> {
      await outbox.idle();
      return published.splice(0);
    },
  };
};

t.test(
  'answers an update, then tells the delta on both its topics and the documents',
  async (t) => {
    const { send } = await openDoor(t);
    await send('dt/pi-1/shadow/update', { state: { desired: { level: 4 } } });
    const state = { reported: { level: 3, list: [1] } };
    t.same(await send('dt/pi-1/shadow/update', { state, clientToken: 'c' }), [
      [
        'dt/pi-1/shadow/update/accepted',
        {
          state,
          metadata: { reported: { level: { timestamp: 5 }, list: { timestamp: 5 } } },
          version: 2,
          timestamp: 5,
          clientToken: 'c',
        },
      ],
      ...['dt/pi-1/shadow/update/delta', 'dt/pi-1/shadow/delta'].map((topic) => [
        topic,
        {
          state: { level: 4 },
          metadata: { level: { timestamp: 5 } },
          version: 2,
          timestamp: 5,
          clientToken: 'c',
        },
      ]),
      [
        'dt/pi-1/shadow/update/documents',
        {
          previous: {
            state: { desired: { level: 4 } },
            metadata: { desired: { level: { timestamp: 5 } } },
            version: 1,
          },
          current: {
            state: { desired: { level: 4 }, reported: { level: 3, list: [1] } },
            metadata: {
              desired: { level: { timestamp: 5 } },
              reported: { level: { timestamp: 5 }, list: { timestamp: 5 } },
            },
            version: 2,
          },
          timestamp: 5,
          clientToken: 'c',
        },
      ],
    ]);
    const same = await send('dt/pi-1/shadow/update', { state: { reported: { level: 4 } } });
    t.notOk(
      same.some(([topic]) => topic.endsWith('delta')),
      'no delta when there is none',
    );
  },
);

t.test('serves named shadows on their own topics', async (t) => {
  const { send } = await openDoor(t);
  const sent = await send('dt/pi-1/shadow/name/net/update', { state: { desired: { a: 1 } } });
  t.same(
    sent.map(([topic]) => topic),
    ['update/accepted', 'update/delta', 'delta', 'update/documents'].map(
      (rest) => `dt/pi-1/shadow/name/net/${rest}`,
    ),
  );
  t.match(await send('dt/pi-1/shadow/get', ''), [['dt/pi-1/shadow/get/rejected', { code: 404 }]]);
});

t.test('answers get with state, delta and the token', async (t) => {
  const { send } = await openDoor(t);
  await send('dt/pi-1/shadow/update', { state: { desired: { a: 1 }, reported: { b: 2 } } });
  t.same(await send('dt/pi-1/shadow/get', { clientToken: 'g' }), [
    [
      'dt/pi-1/shadow/get/accepted',
      {
        state: { desired: { a: 1 }, reported: { b: 2 }, delta: { a: 1 } },
        metadata: {
          desired: { a: { timestamp: 5 } },
          reported: { b: { timestamp: 5 } },
          delta: { a: { timestamp: 5 } },
        },
        version: 1,
        timestamp: 5,
        clientToken: 'g',
      },
    ],
  ]);
});

t.test('answers whom it cannot serve now', async (t) => {
  const { send } = await openDoor(t, { maxWaiting: 1 });
  const [first, second] = [
    send('dt/pi-1/shadow/get', { clientToken: '1' }),
    send('dt/pi-1/shadow/get', { clientToken: '2' }),
  ];
  t.match([...(await first), ...(await second)].map(([, answer]) => answer).sort(byToken), [
    { code: 404, clientToken: '1' },
    { code: 429, clientToken: '2' },
  ]);
});

t.test('answers delete with the version that was deleted', async (t) => {
  const { send } = await openDoor(t);
  await send('dt/pi-1/shadow/update', { state: { reported: { b: 2 } } });
  t.same(await send('dt/pi-1/shadow/delete', { clientToken: 'd' }), [
    ['dt/pi-1/shadow/delete/accepted', { version: 1, timestamp: 5, clientToken: 'd' }],
  ]);
  t.same(await send('dt/pi-1/shadow/delete', { clientToken: 'd' }), [
    [
      'dt/pi-1/shadow/delete/rejected',
      {
        code: 404,
        message: "No shadow exists with name: 'classic'",
        timestamp: 5,
        clientToken: 'd',
      },
    ],
  ]);
});

t.test('says what is wrong, with the number AWS IoT has for it', async (t) => {
  const { send } = await openDoor(t);
  const cases: readonly (readonly [unknown, number])[] = [
    ['{', 400],
    ['['.repeat(20_000), 400],
    ['x'.repeat(40_000), 413],
    [{ clientToken: 'c' }, 400],
    [{ state: { reported: { text: 'x'.repeat(9_000) } }, clientToken: 'c' }, 413],
    [{ state: { reported: { a: [null] } }, clientToken: 'c' }, 400],
    [{ state: { reported: { a: 1 } }, version: 3, clientToken: 'c' }, 409],
  ];
  for (const [payload, code] of cases) {
    const [[topic, answer] = [], ...others] = await send('dt/pi-1/shadow/update', payload);
    t.equal(topic, 'dt/pi-1/shadow/update/rejected');
    t.match(answer, { code, message: String, timestamp: 5 });
    if (typeof payload === 'object') t.match(answer, { clientToken: 'c' });
    t.same(others, []);
  }
});

t.test('a device that was away gets one delta, of how things stand when it is back', async (t) => {
  const { fence, send, told, shadows, online, door } = await openDoor(t);
  await send('dt/pi-1/shadow/update', { state: { reported: { level: 1 } } });
  online.delete('pi-1');
  const key = { device: 'pi-1', name: '-' };
  for (const level of [2, 3]) {
    const patch = { desired: { level } };
    await shadows.request({ ...key, type: 'update', writer: 'site:ann', patch });
  }
  const operations = mintOperations(emptyShadow, [{ path: ['desired', 'mode'], value: 'eco' }], {
    replica: 'cloud',
    writer: 'cloud',
    seen: zeroTime,
    clock: { now: 6_000, trusted: true },
  });
  let write: Parameters<Parameters<typeof shadows.applyRemote>[1]>[0] = [];
  await shadows.applyRemote({ device: 'pi-1', shadow: '-', operations }, async (given) => {
    write = given;
  });
  t.ok(write.length > 0);
  t.notOk((await told()).some(([topic]) => topic.endsWith('delta')));
  online.add('pi-1');
  await door.connected('pi-1');
  const delta = { state: { level: 3, mode: 'eco' }, version: 4 };
  t.match(await told(), [
    ['dt/pi-1/shadow/update/delta', delta],
    ['dt/pi-1/shadow/delta', delta],
  ]);
  fence.isFenced = true;
  await door.connected('pi-1');
  t.same(await told(), [], 'a gateway that owns the site no more desires nothing');
});
