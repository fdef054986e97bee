import { Server } from 'node:net';
import t from 'tap';
import { connectDevice, connectService, openSite, receivedBy } from './broker-fixture.js';

t.test('a device publishes and a service receives', async (t) => {
  const site = await openSite(t);
  const service = await connectService(t, site);
  await service.subscribeAsync('dt/+/telemetry/#', { qos: 1 });
  const received = receivedBy(service);
  const device = await connectDevice(t, site, 'pump-1');
  await device.publishAsync('dt/pump-1/telemetry/flow', '1.5', { qos: 1 });
  t.match(await received.next(1), [{ topic: 'dt/pump-1/telemetry/flow', payload: '1.5', qos: 1 }]);
  t.match(site.handled, [
    {
      identity: { kind: 'device', site: 'site-a', device: 'pump-1' },
      clientId: 'pump-1',
      topic: 'dt/pump-1/telemetry/flow',
      qos: 1,
      retain: false,
    },
  ]);
  t.same(site.broker.connectedDevices(), ['pump-1']);
});

t.test('the gateway publishes to a device with each QoS', async (t) => {
  const site = await openSite(t);
  const device = await connectDevice(t, site, 'pump-1');
  await device.subscribeAsync('dt/pump-1/#', { qos: 2 });
  const received = receivedBy(device);
  for (const qos of [0, 1, 2] as const) {
    const payload = Buffer.from(`at ${qos}`);
    await site.broker.publish({ topic: 'dt/pump-1/commands/c', payload, qos });
  }
  t.match(await received.next(3), [
    { payload: 'at 0', qos: 0 },
    { payload: 'at 1', qos: 1 },
    { payload: 'at 2', qos: 2 },
  ]);
});

t.test('one client alone is answered, whatever it and others are subscribed to', async (t) => {
  const site = await openSite(t);
  const other = await connectDevice(t, site, 'pump-1', { clientId: 'pump-1:b' });
  await other.subscribeAsync('dt/pump-1/#', { qos: 1 });
  const asker = await connectDevice(t, site, 'pump-1');
  const answer = { topic: 'dt/pump-1/answer', payload: Buffer.from('1'), qos: 1 } as const;
  await site.broker.publish({ ...answer, to: 'pump-1' });
  await site.broker.publish({ ...answer, to: 'pump-1:gone' });
  t.same(site.dropped, []);
  t.match(await receivedBy(asker).next(1), [{ topic: answer.topic, payload: '1', qos: 1 }]);
  await site.broker.publish({ ...answer, payload: Buffer.from('2') });
  await receivedBy(other).next(1);
  t.same(receivedBy(other).payloads, ['2']);
});

t.test('knows what anybody would hear, those who are away among them', async (t) => {
  const site = await openSite(t);
  const device = await connectDevice(t, site, 'pump-1', { clean: false });
  await device.subscribeAsync('dt/pump-1/+/x', { qos: 1 });
  await device.endAsync();
  t.ok(site.broker.isHeard('dt/pump-1/a/x'));
  t.notOk(site.broker.isHeard('dt/pump-1/a/y'));
  t.notOk(site.broker.isHeard('dt/pump-2/a/x'));
});

t.test('a persistent session gets what it missed, in order, over a restart', async (t) => {
  const first = await openSite(t);
  const options = { clean: false, clientId: 'pump-1:app' };
  const device = await connectDevice(t, first, 'pump-1', options);
  await device.subscribeAsync('dt/pump-1/#', { qos: 2 });
  await device.endAsync();
  for (let at = 0; at < 200; at += 1) {
    await first.broker.publish({
      topic: 'dt/pump-1/commands/c',
      payload: Buffer.from(`${at}`),
      qos: 1,
    });
  }
  const second = await first.restart();
  for (let at = 200; at < 210; at += 1) {
    await second.broker.publish({
      topic: 'dt/pump-1/commands/c',
      payload: Buffer.from(`${at}`),
      qos: 1,
    });
  }
  const back = connectDevice(t, second, 'pump-1', options);
  const received = receivedBy(await back);
  await received.next(210);
  t.same(
    received.payloads,
    Array.from({ length: 210 }, (_, at) => `${at}`),
  );
});

t.test('a listener that cannot accept a connection goes on', async (t) => {
  const servers: Server[] = [];
  const { listen } = Server.prototype;
  t.teardown(() => {
    Server.prototype.listen = listen;
  });
  Server.prototype.listen = function (this: Server, ...args: Parameters<typeof listen>) {
    servers.push(this);
    return listen.apply(this, args);
  } as typeof listen;
  const site = await openSite(t);
  Server.prototype.listen = listen;
  t.equal(servers.length, 2);
  for (const server of servers) {
    t.doesNotThrow(() => server.emit('error', new Error('accept ENOBUFS')));
  }
  t.equal((await connectService(t, site)).connected, true);
});
