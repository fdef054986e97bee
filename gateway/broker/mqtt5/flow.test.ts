import t from 'tap';
import { openSite } from '../broker-fixture.js';
import { defaultLimits } from '../broker-limits.js';
import {
  device5,
  leave,
  lose,
  meter5,
  pinged,
  publish5,
  published,
  publishes,
  subscribe5,
} from './mqtt5-fixture.js';

const message = (text: string, qos: 0 | 1 | 2 = 1, topic = 'w/x') => ({
  ...{ topic, payload: Buffer.from(text), qos },
});

t.test('sends no more unacknowledged messages than the client takes', async (t) => {
  const site = await openSite(t);
  const properties = { receiveMaximum: 2, sessionExpiryInterval: 60 };
  const { client } = await meter5(t, site, { properties });
  await subscribe5(client, [{ topic: 'w/#' }]);
  for (const [text, qos] of [
    ['a', 1],
    ['b', 2],
    ['c', 1],
    ['d', 1],
  ] as const)
    await site.broker.publish(message(text, qos));
  await pinged(client);
  const [a, b] = publishes(client);
  t.same([a?.payload.toString(), b?.payload.toString()], ['a', 'b']);
  t.equal(publishes(client).length, 2);
  client.send({ cmd: 'pubrec', messageId: b?.messageId ?? 0 });
  await client.packet('pubrel');
  await pinged(client);
  t.equal(publishes(client).length, 2, 'a PUBREC alone makes no room');
  client.send({ cmd: 'pubcomp', messageId: b?.messageId ?? 0 });
  t.ok(await published(client, 'c'));
  await lose(client);
  const one = { receiveMaximum: 1, sessionExpiryInterval: 60 };
  const { client: back } = await meter5(t, site, { clean: false, properties: one });
  await published(back, 'a');
  await pinged(back);
  t.equal(publishes(back).length, 1, 'what is sent again counts as well');
  for (const text of ['a', 'c', 'd']) {
    const sent = await published(back, text);
    back.send({ cmd: 'puback', messageId: sent?.messageId ?? 0 });
  }
  await pinged(back);
  t.same(
    publishes(back).map(({ payload }) => payload.toString()),
    ['a', 'c', 'd'],
  );
});

t.test('a PUBREC that refuses makes room', async (t) => {
  const site = await openSite(t);
  const { client } = await meter5(t, site, { properties: { receiveMaximum: 1 } });
  await subscribe5(client, [{ topic: 'w/#' }]);
  for (const text of ['a', 'b']) await site.broker.publish(message(text, 2));
  const first = await published(client, 'a');
  client.send({ cmd: 'pubrec', messageId: first?.messageId ?? 0, reasonCode: 0x97 });
  t.ok(await published(client, 'b'));
  t.notOk(client.packets.some(({ cmd }) => cmd === 'pubrel'));
});

t.test('a client with more messages under way than it may is cut', async (t) => {
  const limits = { mqtt5: { ...defaultLimits.mqtt5, receiveMaximum: 3 } };
  const site = await openSite(t, { limits });
  const { client, connack } = await meter5(t, site);
  t.equal(connack?.properties?.receiveMaximum, 3);
  const send = (messageId: number) => client.send(publish5({ qos: 2, messageId }));
  for (const id of [1, 2, 3]) send(id);
  await client.packet('pubrec', ({ messageId }) => messageId === 3);
  client.send({ cmd: 'pubrel', messageId: 1 });
  await client.packet('pubcomp');
  for (const id of [4, 5]) send(id);
  t.match(await client.packet('disconnect'), { reasonCode: 0x93 });
  await client.closed;
  t.equal(site.handled.length, 4);
});

t.test('topic aliases of a client stand for their topics, on its connection', async (t) => {
  const site = await openSite(t);
  const { client } = await device5(t, site, 'pump-1');
  const topics = ['dt/pump-1/telemetry/a', 'dt/pump-1/telemetry/b'];
  const say = (topic: string, topicAlias: number, messageId: number) =>
    client.send(publish5({ topic, qos: 1, messageId, properties: { topicAlias } }));
  say(topics[0] ?? '', 1, 1);
  say(topics[1] ?? '', 32, 2);
  say('', 1, 3);
  say('', 32, 4);
  say(topics[1] ?? '', 1, 5);
  say('', 1, 6);
  await client.packet('puback', ({ messageId }) => messageId === 6);
  const [a, b] = topics;
  t.same(
    site.handled.map(({ topic }) => topic),
    [a, b, a, b, b, b],
  );
});

t.test('an alias of a topic that is too long stands for nothing', async (t) => {
  const site = await openSite(t);
  const { client } = await meter5(t, site);
  const say = (topic: string, messageId: number) =>
    client.send(publish5({ topic, qos: 1, messageId, properties: { topicAlias: 1 } }));
  say('x'.repeat(60_000), 1);
  t.match(await client.packet('puback'), { reasonCode: 0x90 });
  say('', 2);
  t.match(await client.packet('disconnect'), { reasonCode: 0x94 });
});

t.test(
  'an alias that stands for nothing, or a topic that is missing, ends the connection',
  async (t) => {
    const site = await openSite(t);
    for (const [topic, topicAlias, code] of [
      ['', 1, 0x94],
      ['w/x', 33, 0x94],
      ['w/x', 0, 0x94],
      ['', undefined, 0x82],
    ] as const) {
      const { client } = await meter5(t, site);
      // mqtt-packet writes no empty topic without an alias, nor an alias of 0.
      const length = 2 + topic.length + 1 + (topicAlias === undefined ? 0 : 3);
      const alias = topicAlias === undefined ? [0] : [3, 0x23, 0, topicAlias];
      const bytes = [0x30, length, 0, topic.length, ...Buffer.from(topic), ...alias];
      client.socket.write(Buffer.from(bytes));
      t.match(await client.packet('disconnect'), { reasonCode: code }, `${topic} ${topicAlias}`);
    }
    t.same(site.handled, []);
  },
);

t.test('gives topics aliases, as many as the client takes', async (t) => {
  const site = await openSite(t);
  const properties = { topicAliasMaximum: 2, sessionExpiryInterval: 60 };
  const { client } = await meter5(t, site, { properties });
  await subscribe5(client, [{ topic: 'w/#' }]);
  for (const topic of ['w/a', 'w/b', 'w/c', 'w/a', 'w/b', 'w/c']) {
    await site.broker.publish(message(topic, 0, topic));
  }
  await published(client, 'w/c');
  await pinged(client);
  t.same(
    publishes(client).map(({ topic, properties: { topicAlias } = {} }) => [topic, topicAlias]),
    [
      ['w/a', 1],
      ['w/b', 2],
      ['w/c', undefined],
      ['', 1],
      ['', 2],
      ['w/c', undefined],
    ],
  );
  await leave(client);
  await site.broker.publish(message('later', 1, 'w/b'));
  const { client: back } = await meter5(t, site, { clean: false, properties });
  t.match(await published(back, 'later'), { topic: 'w/b', properties: { topicAlias: 1 } });
});

t.test('never sends a packet larger than the client takes: dropped and counted', async (t) => {
  const site = await openSite(t);
  const properties = { maximumPacketSize: 64, topicAliasMaximum: 1 };
  const { client } = await meter5(t, site, { clientId: 'small', properties });
  // The answer to its CONNECT fits; so must the others.
  await subscribe5(client, [{ topic: 'w/#' }]);
  const text = 'x'.repeat(60);
  for (const qos of [0, 1, 2] as const) await site.broker.publish(message(text, qos));
  await site.broker.publish({ ...message('y'.repeat(50)), retain: true });
  t.ok(await published(client, 'y'.repeat(50)));
  t.equal(publishes(client).length, 1);
  t.match(
    site.dropped.map(({ clientId, reason, count }) => [clientId, reason, count]),
    Array(3).fill(['service/meter/small', 'PACKET_TOO_LARGE', 1]),
  );
});

t.test('a packet larger than the broker takes is refused by name', async (t) => {
  const site = await openSite(t);
  const { client, connack } = await meter5(t, site);
  const most = connack?.properties?.maximumPacketSize ?? 0;
  client.send(publish5({ payload: Buffer.alloc(most) }));
  t.match(await client.packet('disconnect'), { reasonCode: 0x95 });
  await client.closed;
});
