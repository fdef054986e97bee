import t from 'tap';
import {
  connectDevice,
  connectService,
  openSite,
  rawDevice,
  rawMeter,
  receivedBy,
} from './broker-fixture.js';
import { defaultLimits } from './broker-limits.js';

const bytes = (text: string): Buffer => Buffer.from(text);

t.test('overlapping subscriptions deliver once, with the highest QoS', async (t) => {
  const site = await openSite(t);
  const client = await connectService(t, site);
  await client.subscribeAsync({ 'w/x': { qos: 0 }, 'w/#': { qos: 2 }, '+/x': { qos: 1 } });
  await site.broker.publish({ topic: 'w/x', payload: bytes('a'), qos: 2 });
  await site.broker.publish({ topic: 'w/y', payload: bytes('b'), qos: 2 });
  t.match(await receivedBy(client).next(2), [
    { payload: 'a', qos: 2 },
    { payload: 'b', qos: 2 },
  ]);
});

t.test('a wildcard subscription of QoS 1 gets a QoS 2 message with QoS 1', async (t) => {
  const site = await openSite(t);
  const client = await connectService(t, site);
  await client.subscribeAsync('w/#', { qos: 1 });
  await site.broker.publish({ topic: 'w/x', payload: bytes('a'), qos: 2 });
  t.match(await receivedBy(client).next(1), [{ payload: 'a', qos: 1 }]);
});

t.test(
  'a retained QoS 2 message reaches a persistent QoS 2 subscriber and completes',
  async (t) => {
    const site = await openSite(t);
    await site.broker.publish({ topic: 'w/x', payload: bytes('kept'), qos: 2, retain: true });
    const client = await connectService(t, site, { clean: false });
    await client.subscribeAsync('w/#', { qos: 2 });
    t.match(await receivedBy(client).next(1), [{ payload: 'kept', qos: 2, retain: true }]);
    await site.broker.publish({ topic: 'w/y', payload: bytes('live'), qos: 2 });
    t.match((await receivedBy(client).next(2))[1], { payload: 'live', retain: false });
    t.equal(client.connected, true);
  },
);

t.test('retained messages are replaced, deleted and there after a restart', async (t) => {
  const first = await openSite(t);
  const publish = (topic: string, text: string): Promise<void> =>
    first.broker.publish({ topic, payload: bytes(text), qos: 1, retain: true });
  await Promise.all([
    publish('w/a', '1'),
    publish('w/a', '2'),
    publish('w/b', '1'),
    publish('w/b', ''),
  ]);
  await publish('w/c', '3');
  const second = await first.restart();
  const client = await connectService(t, second);
  await client.subscribeAsync('w/#', { qos: 1 });
  const messages = await receivedBy(client).next(2);
  t.same(
    messages.map(({ topic, payload }) => `${topic}=${payload}`),
    ['w/a=2', 'w/c=3'],
  );
});

t.test('retained messages of one client are bounded, and the rest is told', async (t) => {
  const site = await openSite(t, {
    limits: { deviceRetained: { maxMessages: 3, maxBytes: 1_000 } },
  });
  const device = await connectDevice(t, site, 'pump-1');
  const publish = (at: number, payload: string): Promise<unknown> =>
    device.publishAsync(`dt/pump-1/telemetry/s${at}`, payload, { qos: 1, retain: true });
  await Promise.all([0, 1, 2, 3, 4].map((at) => publish(at, 'x')));
  t.match(site.dropped, [
    { clientId: 'pump-1', reason: 'RETAINED_QUOTA' },
    { clientId: 'pump-1', reason: 'RETAINED_QUOTA' },
  ]);
  t.equal(site.handled.length, 5, 'they count as messages all the same');
  await publish(0, 'y'.repeat(2_000));
  t.equal(site.dropped.length, 3);
  await publish(0, '');
  await publish(3, 'x');
  t.equal(site.dropped.length, 3, 'a deleted one makes room');
  const service = await connectService(t, site);
  await service.subscribeAsync('dt/#', { qos: 1 });
  const messages = await receivedBy(service).next(3);
  t.same(
    messages.map(({ topic }) => topic).sort(),
    ['s1', 's2', 's3'].map((s) => `dt/pump-1/telemetry/${s}`),
  );
});

t.test(
  'the queue of an offline client is bounded in messages: the oldest go, counted',
  async (t) => {
    const deviceSession = { ...defaultLimits.deviceSession, maxMessages: 10 };
    const first = await openSite(t, { limits: { deviceSession } });
    const options = { clean: false };
    const device = await connectDevice(t, first, 'pump-1', options);
    await device.subscribeAsync('dt/pump-1/#', { qos: 1 });
    await device.endAsync();
    for (let at = 0; at < 25; at += 1) {
      await first.broker.publish({
        topic: 'dt/pump-1/commands/c',
        payload: bytes(`${at}`),
        qos: 1,
      });
    }
    const count = first.dropped.reduce((sum, event) => sum + event.count, 0);
    t.equal(count, 15);
    t.match(first.dropped[0], { clientId: 'pump-1', reason: 'QUEUE_FULL' });
    const second = await first.restart();
    const back = await connectDevice(t, second, 'pump-1', options);
    await receivedBy(back).next(10);
    t.same(
      receivedBy(back).payloads,
      Array.from({ length: 10 }, (_, at) => `${15 + at}`),
    );
  },
);

t.test('the queue of an offline client is bounded in bytes', async (t) => {
  const deviceSession = { ...defaultLimits.deviceSession, maxBytes: 10_000 };
  const site = await openSite(t, { limits: { deviceSession } });
  const device = await connectDevice(t, site, 'pump-1', { clean: false });
  await device.subscribeAsync('dt/pump-1/#', { qos: 1 });
  await device.endAsync();
  for (let at = 0; at < 20; at += 1) {
    await site.broker.publish({
      topic: 'dt/pump-1/commands/c',
      payload: Buffer.alloc(1_000),
      qos: 1,
    });
  }
  const bytesDropped = site.dropped.reduce((sum, event) => sum + event.bytes, 0);
  t.ok(bytesDropped > 10_000);
  const row = await site.store.read.get<{ bytes: number }>(
    'SELECT sum(length(payload)) AS bytes FROM mqtt_queue',
  );
  t.ok((row?.bytes ?? 0) <= 10_000);
});

t.test('sessions of one device are bounded: the longest offline goes', async (t) => {
  let now = 0;
  const site = await openSite(t, {
    limits: { sessionsPerDevice: 2 },
    clock: { now: () => (now += 1), monotonic: () => 0, trusted: true },
  });
  for (const suffix of ['a', 'b', 'c']) {
    const device = await connectDevice(t, site, 'pump-1', {
      clean: false,
      clientId: `pump-1:${suffix}`,
    });
    await device.subscribeAsync('dt/pump-1/#', { qos: 1 });
    await device.endAsync();
  }
  t.match(site.dropped, [{ clientId: 'pump-1:a', reason: 'SESSION_EVICTED' }]);
  const rows = await site.store.read.all<{ id: string }>(
    'SELECT client_id AS id FROM mqtt_sessions ORDER BY id',
  );
  t.same(rows, [{ id: 'pump-1:b' }, { id: 'pump-1:c' }]);
});

t.test('a will is published when the connection breaks, and not after DISCONNECT', async (t) => {
  const site = await openSite(t);
  const watcher = await connectService(t, site, { clientId: 'watcher' });
  await watcher.subscribeAsync('dt/#', { qos: 1 });
  const will = { topic: 'dt/pump-1/telemetry/gone', payload: bytes('broken'), qos: 1 as const };
  const orderly = await connectDevice(t, site, 'pump-1', {
    will: { ...will, payload: bytes('no') },
  });
  await orderly.endAsync();
  const broken = await rawDevice(t, site, 'pump-1');
  await broken.connect({ clientId: 'pump-1', will });
  broken.socket.destroy();
  t.match(await receivedBy(watcher).next(1), [{ payload: 'broken' }]);
  t.match(site.handled, [{ topic: will.topic, clientId: 'pump-1' }]);
  const rows = await site.store.read.all('SELECT * FROM mqtt_wills');
  t.same(rows, []);
});

t.test(
  'the will of a connection that ends with the program is published by the next start',
  async (t) => {
    const first = await openSite(t);
    const watcher = await connectService(t, first, { clientId: 'watcher', clean: false });
    await watcher.subscribeAsync('dt/#', { qos: 1 });
    const device = await rawDevice(t, first, 'pump-1');
    const will = { topic: 'dt/pump-1/telemetry/gone', payload: bytes('cut'), qos: 1 as const };
    await device.connect({ clientId: 'pump-1', will });
    const second = await first.restart();
    t.match(second.handled, [{ topic: will.topic, clientId: 'pump-1' }]);
    const back = await connectService(t, second, { clientId: 'watcher', clean: false });
    t.match(await receivedBy(back).next(1), [{ payload: 'cut' }]);
    t.same((await second.restart()).handled, [], 'once');
  },
);

t.test('the same client id takes the connection over, with the session', async (t) => {
  const site = await openSite(t);
  const first = await rawMeter(t, site, { clientId: 'one', clean: false });
  first.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 1 }] });
  await first.packet('suback');
  const second = await connectService(t, site, { clientId: 'one', clean: false });
  await first.closed;
  await site.broker.publish({ topic: 'a', payload: bytes('x'), qos: 1 });
  t.match(await receivedBy(second).next(1), [{ payload: 'x' }]);
});

t.test('a device that comes back over another connection is never told as gone', async (t) => {
  const site = await openSite(t);
  const first = await connectDevice(t, site, 'pump-1', { clientId: 'pump-1', clean: false });
  const closed = new Promise<void>((resolve) => first.once('close', () => resolve()));
  await connectDevice(t, site, 'pump-1', { clientId: 'pump-1', clean: false });
  await closed;
  const [began, begun] = site.sessions;
  t.match(
    site.sessions.map(({ connected, sessionId }) => [connected, sessionId]),
    [
      [true, began?.sessionId],
      [true, begun?.sessionId],
      [false, began?.sessionId],
    ],
  );
});

t.test('what was in flight is sent again with its packet id, marked as a duplicate', async (t) => {
  const first = await openSite(t);
  const options = { clientId: 'slow', clean: false };
  const client = await rawMeter(t, first, options);
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 2 }] });
  await client.packet('suback');
  await first.broker.publish({ topic: 'a', payload: bytes('one'), qos: 1 });
  await first.broker.publish({ topic: 'a', payload: bytes('two'), qos: 2 });
  const two = await client.packet('publish', ({ qos }) => qos === 2);
  const one = await client.packet('publish', ({ qos }) => qos === 1);
  client.socket.destroy();
  const second = await first.restart();
  const back = await rawMeter(t, second, options);
  t.match(await back.packet('publish', ({ qos }) => qos === 1), {
    messageId: one?.messageId,
    dup: true,
  });
  t.match(await back.packet('publish', ({ qos }) => qos === 2), {
    messageId: two?.messageId,
    dup: true,
  });
  back.send({ cmd: 'pubrec', messageId: two?.messageId ?? 0 });
  await back.packet('pubrel');
  back.socket.destroy();
  const third = await second.restart();
  const again = await rawMeter(t, third, options);
  t.match(await again.packet('pubrel'), { messageId: two?.messageId });
  t.equal(
    again.packets.filter((packet) => packet.cmd === 'publish').length,
    1,
    'the message itself is not sent again',
  );
});

t.test('a clean session ends what a persistent one of that client was owed', async (t) => {
  const site = await openSite(t);
  const device = await connectDevice(t, site, 'pump-1', { clean: false });
  await device.subscribeAsync('dt/pump-1/#', { qos: 1 });
  await device.endAsync();
  await site.broker.publish({ topic: 'dt/pump-1/x', payload: bytes('x'), qos: 1 });
  const clean = await connectDevice(t, site, 'pump-1');
  await clean.endAsync();
  for (const table of ['mqtt_sessions', 'mqtt_subscriptions', 'mqtt_queue']) {
    t.same(await site.store.read.all(`SELECT * FROM ${table}`), [], table);
  }
});

t.test(
  'a subscription that is no longer allowed is not restored, nor is what was queued for it sent',
  async (t) => {
    const first = await openSite(t);
    const device = await connectDevice(t, first, 'pump-1', { clean: false });
    await device.subscribeAsync('dt/pump-1/#', { qos: 1 });
    await device.endAsync();
    // As if the topics of another device had been granted once.
    await first.store.commits.commit([
      {
        sql: `INSERT INTO mqtt_subscriptions (session, filter, qos) SELECT key, 'dt/pump-2/#', 1 FROM mqtt_sessions`,
      },
    ]);
    const second = await first.restart();
    await second.broker.publish({ topic: 'dt/pump-2/x', payload: bytes('secret'), qos: 1 });
    const back = await connectDevice(t, second, 'pump-1', { clean: false });
    await second.broker.publish({ topic: 'dt/pump-2/x', payload: bytes('secret'), qos: 1 });
    await second.broker.publish({ topic: 'dt/pump-1/x', payload: bytes('own'), qos: 1 });
    await receivedBy(back).next(1);
    t.same(receivedBy(back).payloads, ['own']);
    t.match(second.dropped, [{ reason: 'NOT_AUTHORISED' }]);
  },
);

t.test('disconnect cuts every connection of a device', async (t) => {
  const site = await openSite(t);
  const clients = await Promise.all(
    ['pump-1', 'pump-1:a'].map((clientId) => connectDevice(t, site, 'pump-1', { clientId })),
  );
  const closed = clients.map(
    (client) => new Promise<void>((resolve) => client.once('close', () => resolve())),
  );
  site.broker.disconnect('pump-1', 'revoked');
  await Promise.all(closed);
  t.same(site.broker.connectedDevices(), []);
  t.same(
    site.sessions.map(({ connected }) => connected),
    [true, true, false, false],
  );
});

t.test('a subscriber of very many retained messages gets them all', async (t) => {
  const site = await openSite(t);
  const count = 3_000;
  await Promise.all(
    Array.from({ length: count }, (_, at) =>
      site.broker.publish({ topic: `w/${at}`, payload: bytes(`${at}`), qos: 1, retain: true }),
    ),
  );
  for (const [clean, qos] of [
    [true, 1],
    [true, 0],
    [false, 1],
  ] as const) {
    const client = await connectService(t, site, { clientId: `many-${clean}-${qos}`, clean });
    await client.subscribeAsync('w/#', { qos });
    t.equal((await receivedBy(client).next(count)).length, count);
    await client.endAsync();
  }
});
