import { generate, type IPublishPacket } from 'mqtt-packet';
import t from 'tap';
import { openSite, rawMeter, streamLimits } from './broker-fixture.js';
import type { PublishRequest } from './protocol.js';
import { PublishLane } from './publish-lane.js';

const publish = (messageId: number, more: Partial<IPublishPacket> = {}): IPublishPacket => ({
  cmd: 'publish',
  topic: 'a/b',
  payload: `${messageId}`,
  qos: 1,
  messageId,
  dup: false,
  retain: false,
  ...more,
});

t.test('takes publishes of QoS 0 and 1 out of a batch and leaves the rest as it was', async (t) => {
  const taken: PublishRequest[] = [];
  const lane = new PublishLane({
    publish: (message) => void taken.push(message),
    acknowledge: () => undefined,
    failed: () => undefined,
    idle: () => undefined,
  });
  const packets = [
    generate({ cmd: 'puback', messageId: 9 }),
    generate(publish(1, { topic: 'ü', retain: true })),
    generate(publish(2, { qos: 2 })),
    generate({ cmd: 'pingreq' }),
    generate(publish(3, { qos: 0, payload: 'x'.repeat(300) })),
    generate(publish(4, { payload: '' })),
  ];
  const ends = packets.map((_, at) => Buffer.concat(packets.slice(0, at + 1)).length);
  const rest = lane.take(Buffer.concat(packets), ends);
  t.same(rest, Buffer.concat([packets[0], packets[2], packets[3]] as Buffer[]));
  t.match(taken, [
    { topic: 'ü', payload: Buffer.from('1'), qos: 1, retain: true, messageId: 1 },
    { topic: 'a/b', payload: Buffer.from('x'.repeat(300)), qos: 0, retain: false },
    { topic: 'a/b', payload: Buffer.alloc(0), qos: 1, messageId: 4 },
  ]);
  t.ok(lane.isBusy);
});

t.test('what is sent in one piece takes effect in its order', async (t) => {
  const site = await openSite(t);
  const client = await rawMeter(t, site);
  client.send(
    { cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: '#', qos: 1 }] },
    publish(3),
    publish(4, { qos: 2 }),
    publish(5),
  );
  await client.packet('publish', ({ payload }) => payload.toString() === '5');
  const received = client.packets.filter(({ cmd }) => cmd === 'publish') as IPublishPacket[];
  t.same(
    received.map(({ payload }) => payload.toString()),
    ['3', '4', '5'],
  );
  t.same(
    site.handled.map(({ payload }) => Buffer.from(payload).toString()),
    ['3', '4', '5'],
  );
});

t.test('acknowledges in order, and a batch only when the one before is done', async (t) => {
  let pending = 0;
  let most = 0;
  const site = await openSite(t, {
    limits: streamLimits({ maxBatchPackets: 4 }),
    handle: async ({ payload }) => {
      pending += 1;
      most = Math.max(most, pending);
      // The later of a batch are the sooner done.
      for (let turn = Number(Buffer.from(payload).toString()) % 4; turn < 4; turn += 1)
        await new Promise((resolve) => setImmediate(resolve));
      pending -= 1;
      return undefined;
    },
  });
  const client = await rawMeter(t, site);
  const ids = Array.from({ length: 50 }, (_, at) => at + 1);
  client.send(...ids.map((id) => publish(id)));
  await client.packet('puback', ({ messageId }) => messageId === 50);
  const acknowledged = client.packets.flatMap((packet) =>
    packet.cmd === 'puback' ? [packet.messageId] : [],
  );
  t.same(acknowledged, ids);
  t.equal(most, 4);
});

t.test('who only publishes is kept alive by it', async (t) => {
  const site = await openSite(t);
  const client = await rawMeter(t, site, { clientId: 'busy', keepalive: 1 });
  const silent = await rawMeter(t, site, { clientId: 'silent', keepalive: 1 });
  let isSilentGone = false;
  void silent.closed.then(() => {
    isSilentGone = true;
  });
  for (let id = 1; !isSilentGone; id += 1) {
    client.packets.length = 0;
    client.send(publish((id % 65_535) + 1));
    await client.packet('puback');
  }
  t.notOk(client.socket.destroyed, 'it outlives who came after it and says nothing');
});

t.test('what a service publishes beneath $ is acknowledged and goes nowhere', async (t) => {
  const refused: string[] = [];
  const site = await openSite(t, { onRefused: ({ what, reason }) => refused.push(what, reason) });
  const client = await rawMeter(t, site, { clean: false });
  client.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: '#', qos: 0 }] });
  await client.packet('suback');
  client.send(publish(1, { topic: '$TopicA/B' }), publish(2, { topic: '$x', qos: 2 }));
  client.send({ cmd: 'pubrel', messageId: 2 }, publish(3, { topic: 'w' }));
  t.ok(await client.packet('pubcomp'));
  t.match(await client.packet('publish'), { topic: 'w' });
  t.match(site.handled, [{ topic: 'w' }]);
  t.same(refused, ['$TopicA/B', 'TOPIC_RESERVED', '$x', 'TOPIC_RESERVED']);
});

t.test('a topic of too many levels, or with a wildcard, ends the connection', async (t) => {
  const site = await openSite(t);
  for (const topic of ['/'.repeat(100), 'a/+', '#']) {
    const client = await rawMeter(t, site);
    client.send(publish(1, { topic: 'x'.repeat(topic.length) }));
    await client.packet('puback');
    const bytes = generate(publish(2, { topic: 'x'.repeat(topic.length) }));
    bytes.write(topic, bytes.indexOf('x'));
    client.socket.write(bytes);
    await client.closed;
    t.equal(client.packets.filter(({ cmd }) => cmd === 'puback').length, 1, topic.slice(0, 5));
  }
});
