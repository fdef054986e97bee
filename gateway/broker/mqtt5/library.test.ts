/** MQTT 5 as the `mqtt` package speaks it, which agents and services use. */
import type { IPublishPacket } from 'mqtt';
import t from 'tap';
import { connectDevice, connectService, openSite, receivedBy } from '../broker-fixture.js';

t.test('every QoS with properties, aliases chosen by the library, both ways', async (t) => {
  const site = await openSite(t);
  const client = await connectService(t, site, {
    ...{ protocolVersion: 5, autoUseTopicAlias: true, autoAssignTopicAlias: true },
    properties: { topicAliasMaximum: 5, receiveMaximum: 2 },
  });
  const came: IPublishPacket[] = [];
  client.on('message', (_topic, _payload, packet) => came.push(packet));
  await client.subscribeAsync('w/#', { qos: 2, properties: { subscriptionIdentifier: 9 } });
  const properties = { userProperties: { a: '1' }, responseTopic: 'w/answer' };
  const said: string[] = [];
  for (let at = 0; at < 30; at += 1) {
    const topic = `w/${at % 3}`;
    said.push(`${topic} ${at}`);
    const qos = ([0, 1, 2] as const)[at % 3] ?? 0;
    await client.publishAsync(topic, `${at}`, { qos, properties });
  }
  const got = await receivedBy(client).next(30);
  t.same(got.map(({ topic, payload }) => `${topic} ${payload}`).sort(), said.sort());
  t.ok(came.every((packet) => packet.properties?.responseTopic === 'w/answer'));
  t.ok(came.every((packet) => packet.properties?.subscriptionIdentifier === 9));
});

t.test('a device comes back to its session and gets what it missed, once', async (t) => {
  const site = await openSite(t);
  const options = {
    ...{ protocolVersion: 5 as const, clean: false },
    properties: { sessionExpiryInterval: 600 },
  };
  const device = await connectDevice(t, site, 'pump-1', options);
  await device.subscribeAsync('dt/pump-1/commands/#', { qos: 2 });
  await device.endAsync();
  for (const text of ['1', '2', '3']) {
    const payload = Buffer.from(text);
    await site.broker.publish({ topic: 'dt/pump-1/commands/c', payload, qos: 2 });
  }
  const back = await connectDevice(t, site, 'pump-1', options);
  const got = await receivedBy(back).next(3);
  t.same(
    got.map(({ payload, qos }) => [payload, qos]),
    [
      ['1', 2],
      ['2', 2],
      ['3', 2],
    ],
  );
});

t.test('the library is told why it is refused, and why it is cut', async (t) => {
  const site = await openSite(t);
  const device = await connectDevice(t, site, 'pump-1', { protocolVersion: 5 });
  await t.rejects(device.publishAsync('dt/pump-2/telemetry/x', '1', { qos: 1 }), { code: 0x87 });
  t.equal(device.connected, true);
  const told = new Promise((resolve) => device.once('disconnect', resolve));
  site.broker.disconnect('pump-1', 'revoked');
  t.match(await told, { reasonCode: 0x98, properties: { reasonString: 'revoked' } });
  const foreign = connectDevice(t, site, 'pump-1', { protocolVersion: 5, clientId: 'pump-2' });
  await t.rejects(foreign, { code: 0x85 });
});
