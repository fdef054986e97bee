import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { openSite, rawService, type Site } from '../broker-fixture.js';
import {
  type Connect5,
  leave,
  lose,
  meter5,
  pinged,
  published,
  publishes,
  subscribe5,
} from './mqtt5-fixture.js';

const will = (willDelayInterval: number) => ({
  ...{ topic: 'w/will', payload: Buffer.from('gone'), qos: 1 as const, retain: false },
  properties: { willDelayInterval, userProperties: { a: '1' }, contentType: 'text/plain' },
});

const openTimed = async (t: Test) => {
  const clock = new ManualClock();
  const site = await openSite(t, { clock, wait: clock.wait });
  const { client: reader } = await meter5(t, site, { clientId: 'reader' });
  await subscribe5(reader, [{ topic: 'w/#' }]);
  return { clock, site, reader };
};

const come = (t: Test, site: Site, delay: number, expiry: number, more: Connect5 = {}) =>
  meter5(t, site, {
    ...{ clientId: 'one', clean: false, will: will(delay) },
    ...{ properties: { sessionExpiryInterval: expiry } },
    ...more,
  });

/** Whether a will waits, once the broker has seen that the connection is lost. */
const waits = async (clock: ManualClock): Promise<void> => {
  while (clock.waiting === 0) await new Promise((resolve) => setImmediate(resolve));
};

t.test('a will is published at once, with its properties', async (t) => {
  const { site, reader } = await openTimed(t);
  await lose((await come(t, site, 0, 60)).client);
  const properties = { userProperties: { a: '1' }, contentType: 'text/plain' };
  t.match(await published(reader, 'gone'), { topic: 'w/will', properties });
});

t.test('a will waits for its delay, or the end of the session when that is sooner', async (t) => {
  for (const [delay, expiry, at] of [
    [3, 60, 3],
    [60, 2, 2],
    [60, 0, 0],
  ] as const) {
    const { site, reader, clock } = await openTimed(t);
    await lose((await come(t, site, delay, expiry)).client);
    if (at > 0) {
      await waits(clock);
      clock.advance(at * 1_000 - 1);
      await pinged(reader);
      t.same(publishes(reader), []);
      clock.advance(1);
    }
    t.ok(await published(reader, 'gone'), `${delay} of ${expiry}`);
  }
});

t.test('a will is not published when its client is back in time', async (t) => {
  const { site, reader, clock } = await openTimed(t);
  await lose((await come(t, site, 3, 60)).client);
  await waits(clock);
  const { client } = await come(t, site, 3, 60);
  clock.advance(60_000);
  t.same(publishes(reader), []);
  await come(t, site, 0, 60);
  await client.closed;
  await pinged(reader);
  t.same(publishes(reader), [], 'nor when it comes before the connection is known to be lost');
  const rows = await site.store.read.all('SELECT delay FROM mqtt_wills');
  t.same(rows, [{ delay: 0 }], 'the one it has now is all that is stored');
});

t.test('a client that begins anew ends the session whose will waits', async (t) => {
  const { site, reader, clock } = await openTimed(t);
  await lose((await come(t, site, 60, 60)).client);
  await waits(clock);
  await come(t, site, 60, 60, { clean: true });
  t.ok(await published(reader, 'gone'));
});

t.test('DISCONNECT drops the will, and with a reason has it published', async (t) => {
  const { site, reader } = await openTimed(t);
  await leave((await come(t, site, 0, 60)).client);
  await pinged(reader);
  t.same(publishes(reader), []);
  await leave((await come(t, site, 0, 60)).client, { reasonCode: 0x04 });
  t.ok(await published(reader, 'gone'));
});

t.test('a will that waits is published after a restart, when it is due', async (t) => {
  const { site, clock } = await openTimed(t);
  await lose((await come(t, site, 30, 60)).client);
  await waits(clock);
  const second = await site.restart();
  const { client: reader } = await meter5(t, second, { clientId: 'reader' });
  await subscribe5(reader, [{ topic: 'w/#' }]);
  clock.advance(29_000);
  await pinged(reader);
  t.same(publishes(reader), []);
  clock.advance(1_000);
  t.match(await published(reader, 'gone'), { properties: { contentType: 'text/plain' } });
});

t.test('a client that goes before it is told that it is there leaves no will behind', async (t) => {
  const { site, reader } = await openTimed(t);
  const { commits } = site.store;
  const commit = commits.commit.bind(commits);
  let store = (): void => undefined;
  const isMeant = new Promise<void>((isMeant) => {
    commits.commit = async (write) => {
      const isWill = write.some((part) => 'sql' in part && /INTO mqtt_wills/.test(part.sql));
      if (isWill) {
        await new Promise<void>((resolve) => {
          store = resolve;
          isMeant();
        });
      }
      return commit(write);
    };
  });
  const client = await rawService(t, site, 5);
  const login = { username: 'meter', password: Buffer.from('secret') };
  const more = { protocolVersion: 5, clientId: 'one', clean: true, keepalive: 60 } as const;
  client.send({ cmd: 'connect', protocolId: 'MQTT', ...more, ...login, will: will(0) });
  await isMeant;
  await lose(client);
  for (let turn = 0; turn < 5; turn += 1) await pinged(reader);
  store();
  for (let turn = 0; turn < 5; turn += 1) await pinged(reader);
  const second = await site.restart();
  t.same(second.handled, []);
});
