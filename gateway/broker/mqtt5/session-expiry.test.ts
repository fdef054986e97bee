import { join } from 'node:path';
import { openDatabase } from '@holdfast/provisioning/storage/database';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { openSite, rawMeter, type Site, type SiteOverrides } from '../broker-fixture.js';
import { leave, meter5, subscribe5 } from './mqtt5-fixture.js';

const openTimed = async (t: Test, more: SiteOverrides = {}) => {
  const clock = new ManualClock();
  return { clock, site: await openSite(t, { clock, wait: clock.wait, ...more }) };
};

/** Comes for so many seconds, with whether its session was there. */
const come = async (t: Test, site: Site, seconds?: number, isClean = false) => {
  const properties = seconds === undefined ? {} : { sessionExpiryInterval: seconds };
  return meter5(t, site, { clientId: 'one', clean: isClean, properties });
};

const isPresent = async (t: Test, site: Site, seconds?: number): Promise<boolean | undefined> => {
  const { client, connack } = await come(t, site, seconds);
  await leave(client);
  return connack?.sessionPresent;
};

const rows = async ({ store }: Site): Promise<unknown[]> =>
  store.read.all('SELECT client_id FROM mqtt_sessions');

t.test('without an interval a session ends with its connection', async (t) => {
  const { site } = await openTimed(t);
  const { client } = await come(t, site);
  await subscribe5(client, [{ topic: 'w/#' }]);
  t.same(await rows(site), []);
  await leave(client);
  t.equal(await isPresent(t, site), false);
});

t.test('a session outlives its connection by its interval, to the second', async (t) => {
  const { site, clock } = await openTimed(t);
  await leave((await come(t, site, 5, true)).client);
  clock.advance(4_999);
  t.equal(await isPresent(t, site, 5), true);
  clock.advance(4_999);
  t.equal(await isPresent(t, site, 5), true, 'anew from the end of every connection');
  clock.advance(5_000);
  t.equal(await isPresent(t, site, 5), false);
});

t.test('what an expired session was owed is counted and gone', async (t) => {
  const { site, clock } = await openTimed(t);
  const { client } = await come(t, site, 5, true);
  await subscribe5(client, [{ topic: 'w/#' }]);
  await leave(client);
  await site.broker.publish({ topic: 'w/x', payload: Buffer.from('x'), qos: 1 });
  clock.advance(5_000);
  t.equal(await isPresent(t, site), false);
  t.match(site.dropped, [{ count: 1, reason: 'SESSION_EXPIRED' }]);
  await site.broker.publish({ topic: 'w/y', payload: Buffer.from('y'), qos: 1, retain: true });
  for (const table of ['mqtt_sessions', 'mqtt_queue', 'mqtt_subscriptions']) {
    t.same(await site.store.read.all(`SELECT * FROM ${table}`), [], table);
  }
});

t.test('DISCONNECT shortens or lengthens it, and ends it with 0', async (t) => {
  const { site, clock } = await openTimed(t);
  const leaving = async (seconds: number): Promise<void> =>
    leave((await come(t, site, 5)).client, { properties: { sessionExpiryInterval: seconds } });
  await leaving(1);
  clock.advance(1_000);
  t.equal(await isPresent(t, site, 5), false, 'shortened');
  await leaving(60);
  clock.advance(59_000);
  t.equal(await isPresent(t, site, 5), true, 'lengthened');
  await leaving(0);
  t.equal(await isPresent(t, site, 5), false, 'ended');
  const { client } = await come(t, site, 0, true);
  client.send({ cmd: 'disconnect', properties: { sessionExpiryInterval: 5 } });
  t.match(await client.packet('disconnect'), { reasonCode: 0x82 }, 'one that was to end ends');
});

t.test('a session that is resumed for no longer than its connection ends with it', async (t) => {
  const { site } = await openTimed(t);
  await leave((await come(t, site, 60, true)).client);
  const { client, connack } = await come(t, site, 0);
  t.equal(connack?.sessionPresent, true);
  await leave(client);
  t.equal(await isPresent(t, site), false);
});

t.test('a session whose client could not come back expires all the same', async (t) => {
  const { site, clock } = await openTimed(t);
  const { client } = await come(t, site, 60, true);
  const { commits } = site.store;
  const commit = commits.commit.bind(commits);
  commits.commit = async (write) => {
    commits.commit = commit;
    throw new Error(`no room for ${write.length}`);
  };
  t.equal((await come(t, site, 50)).connack, undefined);
  await client.closed;
  clock.advance(60_000);
  t.equal(await isPresent(t, site, 60), false);
});

t.test('intervals count on over a restart, whatever became of wall time', async (t) => {
  const { site, clock } = await openTimed(t);
  await leave((await come(t, site, 60, true)).client);
  clock.advance(30_000);
  const second = await site.restart();
  clock.advance(29_000);
  t.equal(await isPresent(t, second, 60), true);
  await second.close();
  clock.set(clock.now() + 86_400_000);
  const third = await second.restart();
  t.equal(await isPresent(t, third, 60), false, 'a day of trusted time went by while it was off');
  await third.close();
  clock.trusted = false;
  clock.set(0);
  const fourth = await third.restart();
  t.equal(await isPresent(t, fourth, 60), true, 'and nobody knows how long it was now');
});

t.test('a crash begins the interval of who was connected', async (t) => {
  const { site, clock } = await openTimed(t);
  await come(t, site, 60, true);
  await site.close();
  // As a crash leaves it: nobody has said goodbye.
  const database = await openDatabase({ path: join(site.folder, 'site.db') });
  await database.run('UPDATE mqtt_sessions SET expires_at = NULL');
  await database.close();
  clock.advance(3_000);
  const second = await site.restart();
  clock.advance(59_000);
  t.equal(await isPresent(t, second, 60), true, 'from the start on');
});

t.test('0xFFFFFFFF never expires; a setting bounds it, and it is told', async (t) => {
  const { site, clock } = await openTimed(t, { limits: { maxSessionExpiryMs: 10_000 } });
  const { client, connack } = await come(t, site, 0xffff_ffff, true);
  t.equal(connack?.properties?.sessionExpiryInterval, 10);
  await leave(client);
  const old = await rawMeter(t, site, { clientId: 'old', clean: false });
  old.send({ cmd: 'disconnect' });
  await old.closed;
  clock.advance(10_000);
  t.equal(await isPresent(t, site), false);
  const back = await rawMeter(t, site, { clientId: 'old', clean: false });
  t.equal((await back.packet('connack'))?.sessionPresent, false, 'MQTT 3.1.1 is bounded as well');
  const free = await openTimed(t);
  const { connack: granted, client: lasting } = await come(t, free.site, 0xffff_ffff, true);
  t.equal(granted?.properties?.sessionExpiryInterval, undefined);
  await leave(lasting);
  free.clock.advance(4_294_967_295_000);
  t.equal(await isPresent(t, free.site), true);
});
