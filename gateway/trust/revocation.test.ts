/** Fault 28 (a device is revoked while the WAN is down) and its kin, through the real program: no control plane is ever there. */

import { createHash } from 'node:crypto';
import { socketClosed } from '@holdfast/provisioning/program/socket-closed';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import type { MqttClient } from 'mqtt';
import t, { type Test } from 'tap';
import { type DeviceCredentials, greet, openSiteUnderTest } from './site-under-test.js';

const site = await openSiteUnderTest();
t.teardown(() => site.close());

const someImage = `/firmware/sha256/${createHash('sha256').update('none').digest('hex')}`;
/** What the door says to whoever may ask: there is no such image. */
const served = 404;
const refused = 401;

const connected = async (t: Test, client: MqttClient): Promise<MqttClient> => {
  t.teardown(() => client.endAsync(true));
  client.on('error', () => undefined);
  await withDeadline(happens(client, 'connect'), 20_000, { doing: 'connecting' });
  return client;
};
const happens = (client: MqttClient, event: 'connect' | 'close'): Promise<void> =>
  new Promise((resolve) => client.once(event, () => resolve()));
const until = async (work: () => Promise<boolean>): Promise<void> => {
  await withDeadline(
    async (signal) => {
      while (!(await work())) {
        signal.throwIfAborted();
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    20_000,
    { doing: 'waiting' },
  );
};
const audit = (kind: string): Promise<{ kind: string; body: string }[]> =>
  site.read('SELECT kind, body FROM journal_audit WHERE kind = ? ORDER BY seq', [kind]);
const states = async (device: string): Promise<unknown[]> =>
  (await audit('device_lifecycle'))
    .map(({ body }) => JSON.parse(body) as { device: string; to: string; reason: string })
    .filter((entry) => entry.device === device)
    .map(({ to }) => to);
const command = (device: string, id: string) =>
  site.ask('POST', `/api/v1/devices/${device}/commands`, { command_id: id, type: 'blink' });

let revokedPump: DeviceCredentials | undefined;

t.test('a revoked device is cut on every door at once, whether it resumes or not', async (t) => {
  const pump = await site.enrol('pump');
  revokedPump = pump;
  const press = await site.enrol('press');
  const client = await connected(t, site.connect(pump));
  await client.subscribeAsync('dt/pump/#', { qos: 1 });
  const other = await connected(t, site.connect(press));
  const agent = site.agent(pump);
  t.teardown(() => agent.destroy());
  t.equal((await site.askAsDevice(someImage, pump, agent)).status, served);
  const [kept] = Object.values(agent.freeSockets).flat();
  const keptClosed =
    kept === undefined ? Promise.reject(new Error('not kept')) : socketClosed(kept);
  const tickets: { mqtts?: Buffer; https?: Buffer } = {};
  for (const door of ['mqtts', 'https'] as const) {
    const first = await site.handshake(door, pump);
    const ticket = await first.ticket;
    tickets[door] = ticket;
    first.socket.destroy();
    const second = await site.handshake(door, pump, ticket);
    t.ok(second.isResumed, `${door} does resume`);
    if (door === 'mqtts')
      t.match(await greet(second, 'pump:2'), [{ cmd: 'connack', returnCode: 0 }]);
    second.socket.destroy();
  }
  const before = (await site.ask('GET', '/api/v1/status')).body.revocations as {
    crl_number: number;
    revoked: number;
  };
  const cut = happens(client, 'close');

  const answer = await site.ask('POST', '/api/v1/devices/pump/revocations', {
    reason: 'key_compromise',
  });
  t.same(answer.body, { revoked: [pump.serial] });
  t.match(
    await site.read('SELECT serial, reason, actor FROM revocations', []),
    [{ serial: pump.serial, reason: 'key_compromise', actor: 'site:operator' }],
    'it is on disk when it is answered',
  );
  t.match(JSON.parse((await audit('certificate_revoked')).at(-1)?.body ?? ''), {
    device: 'pump',
    serial: pump.serial,
  });
  await withDeadline(Promise.all([cut, keptClosed]), 5_000, { doing: 'cutting' });
  t.ok(other.connected, 'nobody else is');

  const resumed = await site.handshake('mqtts', pump, tickets.mqtts);
  t.ok(resumed.isResumed, 'TLS itself resumes it');
  t.same(await greet(resumed, 'pump'), [], 'and the gateway answers nothing');
  await resumed.closed;
  const fresh = await site.handshake('mqtts', pump);
  t.same(await greet(fresh, 'pump'), []);
  const overHttps = await site.handshake('https', pump, tickets.https);
  t.ok(overHttps.isResumed);
  overHttps.socket.destroy();
  t.equal((await site.askAsDevice(someImage, pump)).status, refused);
  t.equal((await site.askAsDevice(someImage, press)).status, served);

  await until(async () => {
    const { revocations } = (await site.ask('GET', '/api/v1/status')).body;
    const now = revocations as typeof before;
    return now.crl_number > before.crl_number && now.revoked === before.revoked + 1;
  });
  const list = (await site.askAsDevice('/crl/site.crl')).bytes;
  t.ok(list.includes(Buffer.from(pump.serial, 'hex')), 'the list names it');
  t.equal((await site.askAsDevice('/crl/root.crl')).status, 404, 'no plan has brought it yet');
  t.match((await site.ask('GET', '/api/v1/devices/pump/certificates')).body, {
    certificates: [{ serial: pump.serial, revocation_reason: 'key_compromise' }],
  });
  t.same(await states('pump'), ['provisioning', 'active'], 'the device itself lives on');
});

t.test('what waits for it is held for the certificate it comes back with', async (t) => {
  t.equal((await command('pump', 'c1')).status, 200);
  await site.restart('kill');
  if (revokedPump === undefined) throw new Error('it was never enrolled');
  const denied = await site.handshake('mqtts', revokedPump);
  t.same(await greet(denied, 'pump'), [], 'a restart has not forgotten it');
  const again = await site.enrol('pump');
  const got: string[] = [];
  const client = site.connect(again);
  client.on('message', (topic) => got.push(topic));
  await connected(t, client);
  await until(async () => got.length > 0);
  t.match(got, ['dt/pump/commands/c1']);
});

t.test('a certificate that is replaced is revoked, and its device is not', async (t) => {
  const first = await site.enrol('valve');
  const client = await connected(t, site.connect(first));
  const cut = happens(client, 'close');
  const second = await site.enrol('valve');
  await withDeadline(cut, 5_000, { doing: 'cutting' });
  t.equal((await site.askAsDevice(someImage, first)).status, refused);
  t.equal((await site.askAsDevice(someImage, second)).status, served);
  const [row] = await site.read<{ reason: string }>(
    'SELECT reason FROM revocations WHERE serial = ?',
    [first.serial],
  );
  t.equal(row?.reason, 'superseded');
  await connected(t, site.connect(second));
  await until(async () => (await states('valve')).at(-1) === 'active');
});

t.test('a disabled device is refused at every door until it is enabled', async (t) => {
  const lamp = await site.enrol('lamp');
  const client = await connected(t, site.connect(lamp));
  await client.subscribeAsync('dt/lamp/#', { qos: 1 });
  const cut = happens(client, 'close');
  const disabled = await site.ask('POST', '/api/v1/devices/lamp/lifecycle', {
    action: 'disable',
    reason: 'sold',
  });
  t.match(disabled.body, { state: 'disabled', reason: 'sold', actor: 'site:operator' });
  await withDeadline(cut, 5_000, { doing: 'cutting' });
  t.same(await greet(await site.handshake('mqtts', lamp), 'lamp'), []);
  t.equal((await site.askAsDevice(someImage, lamp)).status, refused);
  t.match((await command('lamp', 'c1')).body, { code: 'RESOURCE_STATE_WRONG' });
  await t.rejects(site.enrol('lamp'), /has to be enabled first/);
  await site.restart('kill');
  t.same(await greet(await site.handshake('mqtts', lamp), 'lamp'), [], 'after a restart too');
  t.equal(
    (await site.ask('POST', '/api/v1/devices/lamp/lifecycle', { action: 'enable' })).status,
    200,
  );
  await connected(t, site.connect(lamp));
  t.same(await states('lamp'), ['provisioning', 'active', 'disabled', 'active']);
});

t.test(
  'a retired device is gone for good; a new code brings its id back, and nothing else',
  async (t) => {
    const saw = await site.enrol('saw');
    const client = await connected(t, site.connect(saw));
    await client.subscribeAsync('dt/saw/#', { qos: 1 });
    await client.publishAsync('dt/saw/own', 'kept', { qos: 1, retain: true });
    await client.endAsync();
    await command('saw', 'c1');
    const path = '/api/v1/devices/saw/lifecycle';
    t.match((await site.ask('POST', path, { action: 'retire' })).body, { state: 'retired' });
    t.same(await site.read('SELECT * FROM mqtt_sessions WHERE device = ?', ['saw']), []);
    t.same(
      await site.read('SELECT * FROM mqtt_retained WHERE owner = ? AND payload IS NOT NULL', [
        'device:saw',
      ]),
      [],
    );
    t.equal((await site.askAsDevice(someImage, saw)).status, refused);
    t.match((await site.ask('POST', path, { action: 'enable' })).body, {
      code: 'RESOURCE_STATE_WRONG',
    });
    const again = await site.enrol('saw');
    const packets = await greet(await site.handshake('mqtts', again), 'saw');
    t.match(packets, [{ cmd: 'connack', returnCode: 0, sessionPresent: false }]);
    await until(async () => (await states('saw')).at(-1) === 'active');
    t.same(await states('saw'), ['provisioning', 'active', 'retired', 'provisioning', 'active']);
  },
);
