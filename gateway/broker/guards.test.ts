import { connect as connectTcp } from 'node:net';
import { socketClosed } from '@holdfast/provisioning/program/socket-closed';
import { generate } from 'mqtt-packet';
import t from 'tap';
import {
  connectDevice,
  connectService,
  openSite,
  rawDevice,
  rawMeter,
  rawService,
  receivedBy,
  streamLimits,
} from './broker-fixture.js';

t.test('a CONNECT over 64 KiB is cut at its header, before it is held', async (t) => {
  const site = await openSite(t);
  const client = await rawService(t, site);
  // 256 MB announced; what follows is never waited for.
  client.socket.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]));
  await client.closed;
  t.same(client.packets, []);
});

t.test('what comes before CONNECT is accepted does not pile up', async (t) => {
  let letIn: (() => void) | undefined;
  const site = await openSite(t, {
    authenticateService: () => new Promise((resolve) => (letIn = () => resolve(undefined))),
  });
  const client = await rawService(t, site);
  client.send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 0,
    clientId: 'a',
  });
  const flood = Buffer.alloc(65_536, generate({ cmd: 'pingreq' }));
  let sent = 0;
  for (; sent < 200 && client.socket.write(flood); sent += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(sent < 200, 'the sender is held back');
  letIn?.();
  await client.closed;
});

t.test(
  'a connection that sends nothing is cut, and so is one whose check never ends',
  async (t) => {
    const site = await openSite(t, {
      limits: streamLimits({ connectTimeoutMs: 50 }),
      authenticateService: () => new Promise(() => undefined),
    });
    const silent = await rawService(t, site);
    await silent.closed;
    const parked = await rawService(t, site);
    t.equal(await parked.connect({ clientId: 'a' }), undefined);
  },
);

t.test('a handshake that is never finished is cut', async (t) => {
  const site = await openSite(t, { limits: { handshakeTimeoutMs: 50 } });
  const socket = connectTcp({ port: site.broker.ports.mqtts ?? 0, host: '127.0.0.1' });
  await socketClosed(socket);
  t.pass('closed');
});

t.test('without a certificate of this site there is no connection', async (t) => {
  const site = await openSite(t);
  const other = await site.fleet.otherSite('site-b');
  await t.rejects(connectDevice(t, { ...site, fleet: other }, 'pump-1'));
  await t.rejects(connectDevice(t, site, 'pump-1', { cert: '', key: '' }));
  t.equal((await connectDevice(t, site, 'pump-1')).connected, true);
});

t.test('a client id is the device, or the device, a colon and a suffix', async (t) => {
  const site = await openSite(t);
  const names = [
    'pump-2',
    'pump-2:a',
    '#',
    '+',
    'pump-1/x',
    'pump-1:',
    'pump-1:a/b',
    'pump-1:#',
    'constructor',
    '__proto__',
    'hasOwnProperty',
  ];
  for (const clientId of names) {
    t.equal(await (await rawDevice(t, site, 'pump-1')).connect({ clientId }), 2, clientId);
  }
  for (const clientId of ['pump-1', 'pump-1:a.b']) {
    t.equal(await (await rawDevice(t, site, 'pump-1')).connect({ clientId }), 0, clientId);
  }
});

t.test('devices that bear the name of a prototype member are devices like others', async (t) => {
  const site = await openSite(t);
  for (const device of ['constructor', '__proto__', 'toString']) {
    const client = await connectDevice(t, site, device, { clean: false });
    await client.subscribeAsync(`dt/${device}/#`, { qos: 1 });
    await client.publishAsync(`dt/${device}/telemetry/${device}`, device, { qos: 2, retain: true });
    t.match(await receivedBy(client).next(1), [{ payload: device }]);
    await client.unsubscribeAsync(`dt/${device}/#`);
  }
});

t.test('filters and topics that bear such names are filters and topics like others', async (t) => {
  const site = await openSite(t);
  const client = await connectService(t, site, { clean: false });
  const received = receivedBy(client);
  for (const [at, name] of [
    'constructor',
    '__proto__',
    '__proto__/constructor',
    'a/hasOwnProperty',
  ].entries()) {
    await client.subscribeAsync(name, { qos: 1 });
    await client.publishAsync(name, name, { qos: 1, retain: true });
    t.match((await received.next(at + 1)).at(-1), { topic: name, payload: name });
  }
});

t.test(
  'an empty client id is given one for a clean session, and refused for another',
  async (t) => {
    const site = await openSite(t);
    const client = await rawDevice(t, site, 'pump-1');
    // CONNECT with no flag set and a client id of no length.
    client.socket.write(Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0, 0, 60, 0, 0]));
    t.match(await client.packet('connack'), { returnCode: 2 });
    t.equal(await (await rawDevice(t, site, 'pump-1')).connect({ clientId: '' }), 0);
    t.match(site.sessions, [{ device: 'pump-1', clientId: /^pump-1:/ }]);
  },
);

t.test('NUL and broken UTF-8 in a topic disconnect', async (t) => {
  const site = await openSite(t);
  for (const bytes of [[0x61, 0], [0xc0, 0x80], [0xff]]) {
    const client = await rawMeter(t, site);
    client.socket.write(Buffer.from([0x30, 2 + bytes.length, 0, bytes.length, ...bytes]));
    await client.closed;
  }
  t.same(site.handled, []);
});

t.test('a packet over the limit disconnects, one of its size does not', async (t) => {
  const site = await openSite(t, { limits: streamLimits({ maxPacketBytes: 10_000 }) });
  const client = await connectService(t, site);
  await client.publishAsync('a', 'x'.repeat(9_900), { qos: 1 });
  const raw = await rawMeter(t, site);
  raw.send({
    cmd: 'publish',
    topic: 'a',
    payload: 'x'.repeat(10_001),
    qos: 0,
    dup: false,
    retain: false,
  });
  await raw.closed;
  t.equal(site.handled.length, 1);
});

t.test('$SYS and other reserved topics are nobody’s: on publish and on subscribe', async (t) => {
  const site = await openSite(t);
  const client = await rawMeter(t, site, { clientId: 'asks' });
  const subscriptions = ['$SYS/#', '$share/g/a', '$aws/#'].map((topic) => ({
    topic,
    qos: 0 as const,
  }));
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions });
  t.same((await client.packet('suback'))?.granted, [128, 0, 128]);
  for (const topic of ['$SYS/holdfast/x', '$aws/things/a']) {
    const raw = await rawMeter(t, site);
    raw.send({
      cmd: 'publish',
      topic,
      payload: 'x',
      qos: 1,
      messageId: 1,
      dup: false,
      retain: true,
    });
    t.ok(await raw.packet('puback'), 'it goes nowhere');
  }
  t.same(site.handled, []);
  t.same(await site.store.read.all('SELECT * FROM mqtt_retained'), []);
});

t.test('a # subscription gets nothing beneath $: live, retained or queued', async (t) => {
  const site = await openSite(t);
  const persistent = await connectService(t, site, { clientId: 'queue', clean: false });
  await persistent.subscribeAsync(['#', '+/+'], { qos: 1 });
  await persistent.endAsync();
  const live = await connectService(t, site, { clientId: 'live' });
  await live.subscribeAsync(['#', '+/+'], { qos: 1 });
  await site.broker.publish({
    topic: '$aws/secret',
    payload: Buffer.from('no'),
    qos: 1,
    retain: true,
  });
  await site.broker.publish({ topic: 'open/topic', payload: Buffer.from('yes'), qos: 1 });
  t.match(await receivedBy(live).next(1), [{ payload: 'yes' }]);
  const back = await connectService(t, site, { clientId: 'queue', clean: false });
  await back.subscribeAsync('#', { qos: 1 });
  await site.broker.publish({ topic: 'last', payload: Buffer.from('last'), qos: 1 });
  t.same((await receivedBy(back).next(2)) && receivedBy(back).payloads, ['yes', 'last']);
});

t.test(
  'a device is refused what is not its own, and disconnected for publishing to it',
  async (t) => {
    const site = await openSite(t);
    const device = await rawDevice(t, site, 'pump-1');
    t.equal(await device.connect({ clientId: 'pump-1' }), 0);
    const subscriptions = ['dt/pump-2/#', '#', 'dt/+/x', 'dt/pump-1/#'].map((topic) => ({
      topic,
      qos: 1 as const,
    }));
    device.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    t.same((await device.packet('suback'))?.granted, [128, 128, 128, 1]);
    device.send({
      cmd: 'publish',
      topic: 'dt/pump-2/telemetry/x',
      payload: '1',
      qos: 1,
      messageId: 2,
      dup: false,
      retain: false,
    });
    await device.closed;
    t.equal(await device.packet('puback'), undefined);
    t.same(site.handled, []);
  },
);

t.test('a will outside its own topics is refused at CONNECT', async (t) => {
  const site = await openSite(t);
  const device = await rawDevice(t, site, 'pump-1');
  const will = { topic: 'dt/pump-2/telemetry/x', payload: Buffer.from('boo') };
  t.equal(await device.connect({ clientId: 'pump-1', will }), 5);
});

t.test(
  'a service with a wrong password is refused, and a service cannot take a device over',
  async (t) => {
    const site = await openSite(t);
    const wrong = await rawService(t, site);
    t.equal(await wrong.connect({ clientId: 'a', username: 'meter', password: 'guess' }), 4);
    t.equal(await (await rawService(t, site)).connect({ clientId: 'a' }), 4);
    const device = await connectDevice(t, site, 'pump-1', { clean: false });
    await connectService(t, site, { clientId: 'pump-1' });
    await device.publishAsync('dt/pump-1/telemetry/x', '1', { qos: 1 });
    t.equal(device.connected, true);
  },
);

t.test('half a client is noticed at one and a half times its keepalive', async (t) => {
  const site = await openSite(t);
  const timers = t.capture(globalThis, 'setTimeout', globalThis.setTimeout);
  const client = await rawMeter(t, site, { keepalive: 1 });
  await client.closed;
  const delays = timers().map(({ args: [, delayMs] }) => delayMs ?? 0);
  timers.restore();
  // Aedes adds a millisecond.
  t.ok(delays.includes(1_501), `${delays} ms`);
});
