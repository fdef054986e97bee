import t, { type Test } from 'tap';
import { campaignBody, firmwareBody, openTestSite } from '../../updates/updates-fixture.js';
import { jobBody } from '../aws/aws-jobs-fixture.js';
import { OlderCommands } from './older-commands.js';

const device = 'pi-1';

/** A device of the older set at a site with a campaign for it, each of its connections a client of its own. */
const open = async (t: Test, campaign = campaignBody()) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaign });
  const listening = new Set<string>();
  const sent: { to: string | undefined; qos: number; body: Record<string, unknown> }[] = [];
  let urls = 0;
  let isFull = false;
  const start = async () => {
    let older: OlderCommands | undefined;
    const life = await site.start(undefined, undefined, ({ updates }) => {
      older = new OlderCommands({
        updates,
        publish: async ({ to, qos, payload }) => {
          if (isFull) throw new Error('not now');
          sent.push({ to, qos, body: JSON.parse(Buffer.from(payload).toString()) });
        },
        hears: (clientId) => listening.has(clientId),
        urls: {
          path: ({ sha256 }, ttlMs) => {
            urls += 1;
            return `/firmware/sha256/${sha256}?url=${urls}&ttl=${ttlMs}`;
          },
        },
        httpsAddress: () => 'https://gateway:8443',
        isFenced: () => false,
      });
    });
    if (older === undefined) throw new Error('it was opened');
    const commands = older;
    const { dispatch, updates, outbox } = life;
    const session = async (sessionId: string, connected: boolean) => {
      commands.onSession({ device, clientId: sessionId, sessionId, connected, at: 0 });
      await dispatch({ type: 'session', device, session: sessionId, connected });
      if (connected) await commands.listening(device);
    };
    return {
      ...life,
      connect: (id: string) => session(id, true),
      disconnect: async (id: string) => {
        listening.delete(id);
        await session(id, false);
      },
      async subscribe(id: string) {
        listening.add(id);
        await commands.listening(device);
      },
      async beat(id: string, firmwareVersion = '1') {
        const said = { serialNo: '7', model: 'pi', firmwareVersion };
        await dispatch({ type: 'heartbeat', device, session: id, ...said });
        await commands.beat(device, id);
      },
      async told() {
        await updates.settled();
        await outbox.idle();
        return sent.splice(0);
      },
    };
  };
  return {
    ...site,
    start,
    full: (is: boolean): void => {
      isFull = is;
    },
    life: await start(),
  };
};

t.test(
  'what is offered is told at once to a device that listens, with an address of its own',
  async (t) => {
    const { life } = await open(t);
    await life.connect('one');
    await life.subscribe('one');
    await life.beat('one');
    t.same(await life.told(), [
      {
        to: 'one',
        qos: 0,
        body: {
          command: 'ota_update',
          version: '2',
          url: `https://gateway:8443/firmware/sha256/${'2'.padStart(64, '0')}?url=1&ttl=90000000`,
          checksum: `sha256:${'2'.padStart(64, '0')}`,
          size_bytes: 10,
          campaign_id: 'c',
        },
      },
    ]);
    await life.beat('one');
    await life.subscribe('one');
    t.same(await life.told(), [], 'once in a connection');
  },
);

t.test('who listens later is told then', async (t) => {
  const { life } = await open(t);
  await life.connect('one');
  await life.beat('one');
  t.same(await life.told(), []);
  await life.subscribe('one');
  t.match(await life.told(), [{ to: 'one', body: { campaign_id: 'c' } }]);
});

t.test('a device that comes back gets another address, once it says what it runs', async (t) => {
  const { life } = await open(t);
  await life.connect('one');
  await life.subscribe('one');
  await life.beat('one');
  await life.told();
  await life.disconnect('one');
  await life.connect('two');
  await life.subscribe('two');
  t.same(await life.told(), [], 'it may have done it all');
  await life.beat('two');
  t.match(await life.told(), [{ to: 'two', body: { url: /url=2&/ } }]);
});

t.test('a device that comes back with the new version is not told again', async (t) => {
  const { life, statuses } = await open(t);
  await life.connect('one');
  await life.subscribe('one');
  await life.beat('one');
  await life.told();
  await life.disconnect('one');
  await life.connect('two');
  await life.subscribe('two');
  await life.beat('two', '2');
  t.same(await life.told(), []);
  t.same(await statuses(), { [device]: 'succeeded' });
});

t.test('a device that has begun is left alone', async (t) => {
  const { life } = await open(t);
  await life.connect('one');
  await life.subscribe('one');
  await life.beat('one');
  await life.told();
  await life.dispatch({
    ...{ type: 'status', device, session: 'one', campaign: 'c', status: 'downloading' },
  });
  await life.disconnect('one');
  await life.connect('two');
  await life.subscribe('two');
  await life.beat('two');
  t.same(await life.told(), []);
});

t.test('a restart of the gateway loses no command', async (t) => {
  const { life, start } = await open(t);
  await life.connect('one');
  await life.beat('one');
  await life.told();
  await life.close();
  const next = await start();
  await next.connect('two');
  await next.subscribe('two');
  await next.beat('two');
  t.match(await next.told(), [{ to: 'two', body: { campaign_id: 'c' } }]);
});

t.test('a command that could not be sent is sent when it can be', async (t) => {
  const { life, full } = await open(t);
  full(true);
  await life.connect('one');
  await life.beat('one');
  await life.told();
  await t.rejects(life.subscribe('one'));
  full(false);
  await life.subscribe('one');
  t.match(await life.told(), [{ to: 'one' }]);
});

t.test('a plain job has no words in the older set', async (t) => {
  const { life } = await open(t, jobBody({ do: 'it' }));
  await life.connect('one');
  await life.subscribe('one');
  await life.beat('one');
  t.same(await life.told(), []);
});
