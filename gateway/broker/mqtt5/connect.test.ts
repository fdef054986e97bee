import t from 'tap';
import { openSite, rawMeter, rawService } from '../broker-fixture.js';
import { defaultLimits } from '../broker-limits.js';
import { device5, leave, meter5, subscribe5 } from './mqtt5-fixture.js';

t.test('tells a client what it may do', async (t) => {
  const site = await openSite(t);
  const { connack } = await meter5(t, site, { clientId: 'one two' });
  t.match(connack, { reasonCode: 0, sessionPresent: false });
  t.same(connack?.properties, {
    receiveMaximum: 128,
    maximumPacketSize: defaultLimits.stream.maxPacketBytes,
    topicAliasMaximum: 32,
    retainAvailable: true,
    wildcardSubscriptionAvailable: true,
    subscriptionIdentifiersAvailable: true,
    sharedSubscriptionAvailable: true,
  });
  const device = await device5(t, site, 'pump-1');
  t.equal(device.connack?.properties?.sharedSubscriptionAvailable, false);
});

t.test('refuses with the reason, and closes', async (t) => {
  const site = await openSite(t);
  const asked = [
    [{ password: Buffer.from('wrong') }, 0x86],
    [{ clientId: 'a/b' }, 0x85],
    [{ properties: { authenticationMethod: 'SCRAM-SHA-1' } }, 0x8c],
    [{ properties: { receiveMaximum: 0 } }, 0x82],
    [{ properties: { maximumPacketSize: 0 } }, 0x82],
    [{ will: { topic: '$SYS/x', payload: Buffer.from('x') } }, 0x87],
    [{ properties: { userProperties: { a: Array(65).fill('x') } } }, 0x97],
  ] as const;
  for (const [connect, code] of asked) {
    const { client, connack } = await meter5(t, site, { clientId: 'asks', ...connect } as object);
    t.equal(connack?.reasonCode, code, JSON.stringify(connect));
    await client.closed;
  }
});

t.test('the client id of a device is its own: another is refused, none is given', async (t) => {
  const site = await openSite(t);
  const foreign = await device5(t, site, 'pump-1', { clientId: 'pump-2' });
  t.equal(foreign.connack?.reasonCode, 0x85);
  const unnamed = await device5(t, site, 'pump-1', {
    clientId: '',
    clean: false,
    properties: { sessionExpiryInterval: 60 },
  });
  const clientId = unnamed.connack?.properties?.assignedClientIdentifier ?? '';
  t.match(clientId, /^pump-1:[0-9a-f-]{36}$/);
  await subscribe5(unnamed.client, [{ topic: 'dt/pump-1/#' }]);
  await leave(unnamed.client);
  const back = await device5(t, site, 'pump-1', { clientId, clean: false });
  t.equal(back.connack?.sessionPresent, true, 'it can be come back with');
  t.equal(back.connack?.properties?.assignedClientIdentifier, undefined);
});

t.test('a service without a client id is given one', async (t) => {
  const site = await openSite(t);
  const { connack } = await meter5(t, site, { clientId: '', clean: false });
  t.equal(connack?.reasonCode, 0);
  t.match(connack?.properties?.assignedClientIdentifier, /^[0-9a-f-]{36}$/);
});

t.test('bounds the keepalive, and tells who is silent for longer', async (t) => {
  const limits = { mqtt5: { ...defaultLimits.mqtt5, maxKeepaliveS: 1 } };
  const site = await openSite(t, { limits });
  for (const keepalive of [0, 120]) {
    const { client, connack } = await meter5(t, site, { keepalive });
    t.equal(connack?.properties?.serverKeepAlive, 1);
    t.match(await client.packet('disconnect'), { reasonCode: 0x8d });
    await client.closed;
  }
  const within = await meter5(t, site, { keepalive: 1 });
  t.equal(within.connack?.properties?.serverKeepAlive, undefined);
});

t.test('what does not belong is a protocol error', async (t) => {
  const site = await openSite(t);
  for (const bytes of [
    [0xf0, 2, 0x18, 0],
    [0x10, 13, 0, 4, ...Buffer.from('MQTT'), 5, 2, 0, 60, 0, 0, 0],
    [0x20, 3, 0, 0, 0],
    [0x00, 0],
  ]) {
    const { client } = await meter5(t, site);
    client.socket.write(Buffer.from(bytes));
    t.match(await client.packet('disconnect'), { reasonCode: 0x82 }, `${bytes[0]}`);
    await client.closed;
  }
});

t.test('packets that cannot be read end the connection as malformed', async (t) => {
  const site = await openSite(t);
  for (const hex of [
    '820900010000014180', // SUBSCRIBE cut short: the length says more
    '8206000100000161', // a filter that is longer than the packet
    '82070001000001ff00', // not UTF-8
    '82070001000001614000'.slice(0, 18), // reserved options
    '30060001610301ff', // properties longer than the packet
    '3600', // QoS 3
    '800400010000', // the flags of SUBSCRIBE
    '3007000161039a0100', // an unknown property
  ]) {
    const { client } = await meter5(t, site);
    const bytes = Buffer.from(hex, 'hex');
    client.socket.write(Buffer.concat([bytes.subarray(0, 1), Buffer.from([bytes.length - 2])]));
    client.socket.write(bytes.subarray(2));
    t.match(await client.packet('disconnect'), { reasonCode: 0x81 }, hex);
    await client.closed;
  }
});

t.test(
  'a client is told that another has taken its session, or that the broker stops',
  async (t) => {
    const site = await openSite(t);
    const first = await meter5(t, site, { clientId: 'one' });
    const second = await meter5(t, site, { clientId: 'one' });
    t.match(await first.client.packet('disconnect'), { reasonCode: 0x8e });
    const device = await device5(t, site, 'pump-1');
    site.broker.disconnect('pump-1', 'its certificate is revoked');
    t.match(await device.client.packet('disconnect'), {
      reasonCode: 0x98,
      properties: { reasonString: 'its certificate is revoked' },
    });
    await site.close();
    t.match(await second.client.packet('disconnect'), { reasonCode: 0x8b });
  },
);

t.test('a client that wants no reasons is told none in words', async (t) => {
  const site = await openSite(t);
  const properties = { requestProblemInformation: false };
  const { client } = await meter5(t, site, { clientId: 'one', properties });
  await meter5(t, site, { clientId: 'one' });
  const told = await client.packet('disconnect');
  t.equal(told?.reasonCode, 0x8e);
  t.equal(told?.properties?.reasonString, undefined);
});

t.test('clients of both versions share sessions, one after the other', async (t) => {
  const site = await openSite(t);
  const properties = { sessionExpiryInterval: 0xffff_ffff };
  const first = await meter5(t, site, { clientId: 'one', clean: false, properties });
  await subscribe5(first.client, [{ topic: 'w/#' }]);
  await leave(first.client);
  await site.broker.publish({ topic: 'w/x', payload: Buffer.from('kept'), qos: 1 });
  const second = await rawMeter(t, site, { clientId: 'one', clean: false });
  t.equal((await second.packet('connack'))?.sessionPresent, true);
  t.match(await second.packet('publish'), { payload: Buffer.from('kept') });
});

t.test('a version that nobody speaks is refused as before', async (t) => {
  const site = await openSite(t);
  const client = await rawService(t, site);
  client.socket.write(Buffer.from([0x10, 13, 0, 4, ...Buffer.from('MQTT'), 6, 2, 0, 60, 0, 1, 97]));
  await client.closed;
  t.equal(site.handled.length, 0);
});
