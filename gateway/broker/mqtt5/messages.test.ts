import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { openSite, type RawClient, rawMeter, type Site } from '../broker-fixture.js';
import { defaultLimits } from '../broker-limits.js';
import {
  device5,
  leave,
  meter5,
  pinged,
  publish5,
  published,
  publishes,
  subscribe5,
} from './mqtt5-fixture.js';

const carried = {
  payloadFormatIndicator: true,
  contentType: 'text/plain',
  responseTopic: 'w/answers',
  correlationData: Buffer.from([0, 1, 255]),
  userProperties: { b: ['2', '1'], a: 'ü' },
};

const openTimed = async (t: Test) => {
  const clock = new ManualClock();
  return { clock, site: await openSite(t, { clock, wait: clock.wait }) };
};

const lasting = { clean: false, properties: { sessionExpiryInterval: 3_600 } };

/** A subscriber that is away, with a session. */
const goAway = async (t: Test, site: Site, clientId = 'away'): Promise<void> => {
  const { client } = await meter5(t, site, { clientId, ...lasting });
  await subscribe5(client, [{ topic: 'w/#' }]);
  await leave(client);
};

const comeBack = async (t: Test, site: Site, clientId = 'away'): Promise<RawClient> =>
  (await meter5(t, site, { clientId, ...lasting })).client;

t.test('properties come through: live, retained and queued, over a restart', async (t) => {
  const { site } = await openTimed(t);
  await goAway(t, site);
  const { client } = await meter5(t, site);
  await subscribe5(client, [{ topic: 'w/#' }]);
  for (const qos of [0, 1, 2] as const) {
    const more = { payload: `${qos}`, qos, retain: qos === 1, messageId: 7 };
    client.send(publish5({ ...more, properties: carried }));
    t.match(await published(client, `${qos}`), { qos, properties: carried });
  }
  const second = await site.restart();
  const back = await comeBack(t, second);
  for (const payload of ['1', '2']) {
    t.match(await published(back, payload), { properties: carried }, `queued ${payload}`);
  }
  const { client: late } = await meter5(t, second, { clientId: 'late' });
  await subscribe5(late, [{ topic: 'w/#' }]);
  t.match(await published(late, '1'), { retain: true, properties: carried }, 'retained');
});

t.test('a client of MQTT 3.1.1 gets the message without them, and gives none', async (t) => {
  const { site } = await openTimed(t);
  const old = await rawMeter(t, site, { clientId: 'old' });
  old.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'w/#', qos: 1 }] });
  await old.packet('suback');
  const { client } = await meter5(t, site);
  await subscribe5(client, [{ topic: 'w/#' }]);
  const properties = { ...carried, messageExpiryInterval: 9 };
  client.send(publish5({ payload: 'new', qos: 1, messageId: 7, properties }));
  const got = await published(old, 'new');
  t.same([got?.topic, got?.properties], ['w/x', undefined]);
  old.send({ ...publish5({ payload: 'old', qos: 1, messageId: 7 }) });
  t.equal((await published(client, 'old'))?.properties, undefined);
});

t.test('time that a message waits counts down, and what is too late is dropped', async (t) => {
  const { site, clock } = await openTimed(t);
  await goAway(t, site);
  const { client } = await meter5(t, site);
  for (const [qos, seconds] of [
    [1, 5],
    [2, 5],
    [1, 60],
    [2, 60],
  ] as const) {
    const properties = { messageExpiryInterval: seconds };
    const messageId = qos * 100 + seconds;
    client.send(publish5({ payload: `${messageId}`, qos, messageId, properties }));
    await client.packet(qos === 1 ? 'puback' : 'pubrec', (ack) => ack.messageId === messageId);
  }
  clock.advance(4_000);
  const second = await site.restart();
  clock.advance(1_000);
  const back = await comeBack(t, second);
  for (const payload of ['160', '260']) {
    const { properties } = (await published(back, payload)) ?? {};
    t.same(properties, { messageExpiryInterval: 55 });
  }
  t.equal(back.packets.filter(({ cmd }) => cmd === 'publish').length, 2);
  t.match(second.dropped, [
    { count: 1, reason: 'EXPIRED' },
    { count: 1, reason: 'EXPIRED' },
  ]);
});

t.test('what has begun to be delivered is delivered, however late', async (t) => {
  const { site, clock } = await openTimed(t);
  const { client } = await meter5(t, site, { clientId: 'reader', ...lasting });
  await subscribe5(client, [{ topic: 'w/#' }]);
  const { client: writer } = await meter5(t, site);
  const properties = { messageExpiryInterval: 5 };
  writer.send(publish5({ payload: 'x', qos: 1, messageId: 1, properties }));
  await published(client, 'x');
  await leave(client);
  clock.advance(60_000);
  const again = await published(await comeBack(t, site, 'reader'), 'x');
  t.match(again, { dup: true, properties: { messageExpiryInterval: 0 } });
});

t.test('a retained message expires, in memory and on disk', async (t) => {
  const { site, clock } = await openTimed(t);
  const { client } = await meter5(t, site);
  const send = async (topic: string, properties = {}): Promise<void> => {
    const messageId = topic.length;
    client.send(publish5({ topic, retain: true, qos: 1, messageId, properties }));
    await client.packet('puback', (ack) => ack.messageId === messageId);
  };
  await send('w/short', { messageExpiryInterval: 5 });
  await send('w/long', { messageExpiryInterval: 60 });
  await send('w/for ever');
  clock.advance(2_000);
  const second = await site.restart();
  clock.advance(3_000);
  const { client: late } = await meter5(t, second, { clientId: 'late' });
  await subscribe5(late, [{ topic: 'w/#' }]);
  await pinged(late);
  const all = publishes(late).map(({ topic, properties }) => [topic, properties] as const);
  t.same(
    new Map(all),
    new Map([
      ['w/for ever', undefined],
      ['w/long', { messageExpiryInterval: 55 }],
    ]),
  );
  t.match(second.dropped, [{ clientId: 'meter', count: 1, reason: 'EXPIRED' }]);
  const third = await second.restart();
  t.same(await third.store.read.all('SELECT topic FROM mqtt_retained ORDER BY topic'), [
    { topic: 'w/for ever' },
    { topic: 'w/long' },
  ]);
});

t.test('what the doors handle and what the gateway says are as with MQTT 3.1.1', async (t) => {
  const { site } = await openTimed(t);
  const { client } = await device5(t, site, 'pump-1');
  await subscribe5(client, [{ topic: 'dt/pump-1/commands/#', qos: 1 }]);
  const topic = 'dt/pump-1/telemetry/flow';
  client.send(publish5({ topic, payload: '1', qos: 1, messageId: 3, properties: carried }));
  await client.packet('puback');
  t.match(site.handled, [{ clientId: 'pump-1', topic, qos: 1, retain: false }]);
  const command = { topic: 'dt/pump-1/commands/c', payload: Buffer.from('go'), qos: 1 as const };
  await site.broker.publish(command);
  t.match(await published(client, 'go'), { qos: 1 });
});

t.test('more properties than are taken are refused, and the connection goes on', async (t) => {
  const { site } = await openTimed(t);
  const { client } = await meter5(t, site);
  const { maxUserProperties, maxPropertiesBytes } = defaultLimits.mqtt5;
  const tooMany = { userProperties: { a: Array<string>(maxUserProperties + 1).fill('x') } };
  const tooLong = { userProperties: { a: 'x'.repeat(maxPropertiesBytes) } };
  for (const [messageId, properties] of [tooMany, tooLong].entries()) {
    client.send(publish5({ qos: 1, messageId: messageId + 1, properties }));
    const puback = await client.packet('puback', (ack) => ack.messageId === messageId + 1);
    t.equal(puback?.reasonCode, 0x97);
  }
  client.send(publish5({ qos: 2, messageId: 9, properties: tooMany }));
  t.match(await client.packet('pubrec'), { reasonCode: 0x97 });
  t.same(site.handled, []);
  client.send(publish5({ properties: tooMany }));
  t.match(await client.packet('disconnect'), { reasonCode: 0x97 });
});
