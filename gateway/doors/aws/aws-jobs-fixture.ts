/** What the tests of the jobs topics share: the door over real executions at a site whose plan and clock are held by hand. */
import type { CampaignBody } from '@holdfast/protos/link/plan-documents';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { Test } from 'tap';
import type { InboundMessage, OutboundMessage } from '../../broker/broker.js';
import {
  type Cut,
  campaignBody,
  firmwareBody,
  log,
  openTestSite,
} from '../../updates/updates-fixture.js';
import { openAwsDoor } from './aws-door.js';
import { awsJobDocument } from './aws-job-document.js';

/** A plain job; of one device unless it says otherwise. */
export const jobBody = (document: JsonObject, changes: Partial<CampaignBody> = {}): CampaignBody =>
  campaignBody({ firmware: [], document, ...changes });

export interface Sent {
  readonly topic: string;
  readonly to: string | undefined;
  readonly qos: number;
  // As a test reads it.
  // biome-ignore lint/suspicious/noExplicitAny: a JSON document
  readonly body: any;
}

export const openJobsSite = async (t: Test) => {
  const site = await openTestSite(t);
  const { clock } = site;
  const heard = { isHeard: true };
  const fence = { isFenced: false };
  const sent: Sent[] = [];
  let sessions = 0;

  const publish = async ({ topic, to, qos, payload }: OutboundMessage): Promise<void> =>
    void sent.push({ topic, to, qos, body: JSON.parse(Buffer.from(payload).toString()) });

  /** One life of the gateway's program, with the door. */
  const start = async (cut?: Cut) => {
    let door: ReturnType<typeof openAwsDoor> | undefined;
    const life = await site.start(undefined, cut, ({ site, devices, updates }) => {
      door = openAwsDoor({
        ...{ site, updates, publish, log, now: clock.now },
        shadows: { handle: async () => undefined },
        isHeard: () => heard.isHeard,
        isSpoken: (device) => devices.get(device)?.door === 'aws',
        isConnected: (device) => (devices.get(device)?.session ?? null) !== null,
        documentOf: awsJobDocument({
          urls: { path: ({ device, sha256 }, ttlMs) => `/${sha256}?${device}&${ttlMs}` },
          httpsAddress: () => 'https://gateway:8443',
          deltasOf: (sha256) => [
            {
              ...{ from_sha256: '1'.padStart(64, '0'), from_version: '1', format: 'zstd' },
              ...{ sha256: `d${sha256.slice(1)}`, size_bytes: 4, path: '/' },
            },
          ],
          signaturesOf: () => [{ key_id: 'k', scheme: 'ed25519', signature: 'ab' }],
        }),
        fence: { check: () => undefined, isFenced: () => fence.isFenced },
        lifecycles: { check: () => undefined },
      });
    });
    if (door === undefined) throw new Error('it was opened');
    const opened = door;
    const { updates, outbox, dispatch } = life;

    const settle = async (): Promise<void> => {
      await updates.settled();
      await outbox.idle();
      await updates.settled();
      await outbox.idle();
    };
    const send = async (
      device: string,
      rest: string,
      payload: unknown = {},
      more: Partial<InboundMessage> = {},
    ): Promise<void> => {
      await opened.handle({
        identity: { kind: 'device', site: 's', device, serial: '1', issuerSerial: '2' },
        clientId: device,
        topic: `$aws/things/${device}/jobs/${rest}`,
        payload: Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
        qos: 1,
        retain: false,
        sessionId: `session-${sessions}`,
        ...more,
      });
    };
    return {
      ...life,
      get isDead() {
        return life.isDead;
      },
      door: opened,
      settle,
      send,
      /** Publishes as the device; its answer's outcome and body. */
      async ask(device: string, rest: string, payload: unknown = {}) {
        const at = sent.length;
        await send(device, rest, payload);
        const answers = sent.splice(at).filter((one) => {
          if (one.to === undefined) sent.push(one);
          return one.to !== undefined;
        });
        const [answer] = answers;
        t.equal(answers.length, 1, `one answer to ${rest}`);
        t.match(answer, { to: device, qos: 1 });
        const [, outcome] = answer?.topic.split(`/jobs/${rest}/`) ?? [];
        return { outcome, body: answer?.body };
      },
      /** Comes, over a connection of its own, as a program that speaks these topics. */
      async connect(device: string): Promise<string> {
        sessions += 1;
        const session = `session-${sessions}`;
        await dispatch({ type: 'session', device, session, connected: true, model: 'pi' });
        await opened.connected(device, session);
        await send(device, 'get');
        sent.splice(
          sent.findIndex(({ to }) => to === device),
          1,
        );
        await settle();
        return session;
      },
      async disconnect(device: string, session: string): Promise<void> {
        await dispatch({ type: 'session', device, session, connected: false });
      },
      /** What was told without having been asked, since it was last looked. */
      async told(): Promise<readonly (readonly [string, Sent['body']])[]> {
        await settle();
        return sent
          .splice(0)
          .map(({ topic, body }) => [topic.replace(/^\$aws\/things\/[^/]*\/jobs\//, ''), body]);
      },
    };
  };
  const firmware = firmwareBody();
  site.firmware.come(firmware);
  return { ...site, heard, fence, sent, start };
};

export type JobsLife = Awaited<ReturnType<Awaited<ReturnType<typeof openJobsSite>>['start']>>;

/** What a plain job of the tests says. */
export const document = { operation: 'clean', deep: { list: [1, null, 'é'] } };

/** With one campaign, a plain job unless it is changed, and a device that is there. */
export const openWithJob = async (t: Test, changes: Partial<CampaignBody> = {}) => {
  const site = await openJobsSite(t);
  site.plan.set({ j1: jobBody(document, changes) });
  const life = await site.start();
  const session = await life.connect('pi-1');
  return { ...site, life, session };
};
