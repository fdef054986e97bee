import t, { type Test } from 'tap';
import { openSite, type RawClient, rawMeter, type Site } from '../broker-fixture.js';
import { defaultLimits } from '../broker-limits.js';
import {
  leave,
  meter5,
  pinged,
  publish5,
  published,
  publishes,
  subscribe5,
} from './mqtt5-fixture.js';

const shared = '$share/workers/w/#';
const lasting = { clean: false, properties: { sessionExpiryInterval: 60 } };

const worker = async (t: Test, site: Site, clientId: string, connect = {}) => {
  const { client } = await meter5(t, site, { clientId, ...connect });
  await subscribe5(client, [{ topic: shared, qos: 2 }]);
  return client;
};

const say = (site: Site, text: string, qos: 0 | 1 | 2 = 1): Promise<void> =>
  site.broker.publish({ topic: 'w/x', payload: Buffer.from(text), qos });

const said = (...clients: RawClient[]): string[] =>
  clients.flatMap((client) => publishes(client).map(({ payload }) => payload.toString()));

const acknowledge = (client: RawClient): void => {
  for (const { messageId } of publishes(client)) {
    if (messageId !== undefined) client.send({ cmd: 'puback', messageId });
  }
};

t.test('a message goes to one member, in turn, and to others as ever', async (t) => {
  const site = await openSite(t);
  const workers = await Promise.all(['a', 'b', 'c'].map((id) => worker(t, site, id)));
  const [first] = workers;
  if (first === undefined) return;
  await subscribe5(first, [{ topic: 'w/+', qos: 0 }], { identifier: 5 });
  const other = await rawMeter(t, site, { clientId: 'other' });
  other.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [{ topic: '$share/others/w/x', qos: 1 }],
  });
  await other.packet('suback');
  const texts = Array.from({ length: 30 }, (_, at) => `${at}`);
  for (const [at, text] of texts.entries()) await say(site, text, at < 15 ? 0 : 1);
  for (const client of workers) await pinged(client);
  await published(other, '29');
  t.same(said(other).sort(), texts.sort(), 'a group of its own, with MQTT 3.1.1, gets all');
  const ofGroup = workers.map((client) =>
    publishes(client).filter(({ properties }) => properties === undefined),
  );
  t.same(
    ofGroup.flatMap((each) => each.map(({ payload }) => payload.toString())).sort(),
    texts.sort(),
  );
  for (const each of ofGroup) t.equal(each.length, 10);
});

t.test('who is behind gets less', async (t) => {
  const site = await openSite(t);
  const [slow, quick] = [await worker(t, site, 'slow'), await worker(t, site, 'quick')];
  for (let at = 0; at < 20; at += 1) {
    await say(site, `${at}`);
    await pinged(quick);
    acknowledge(quick);
    await pinged(quick);
  }
  t.ok(said(quick).length >= 18, `${said(quick).length} of 20`);
  t.ok(said(slow).length <= 2);
});

t.test('what a member was owed goes to another when its connection is lost', async (t) => {
  const site = await openSite(t);
  const properties = { ...lasting.properties, receiveMaximum: 2 };
  const gone = await worker(t, site, 'gone', { clean: false, properties });
  const texts = ['1', '2', '3', '4', '5'];
  for (const text of texts) await say(site, text);
  await published(gone, '2');
  const stays = await worker(t, site, 'stays', lasting);
  t.same(said(stays), [], 'who is connected keeps it');
  gone.socket.destroy();
  for (const text of texts) t.ok(await published(stays, text));
  const rows = await site.store.read.all(
    "SELECT DISTINCT client_id FROM mqtt_queue JOIN mqtt_sessions ON key = session WHERE share = '$share/workers/w/#'",
  );
  t.same(rows, [{ client_id: 'service/meter/stays' }], 'on disk, too');
});

t.test('QoS 2 that one has begun to get is no other’s', async (t) => {
  const site = await openSite(t);
  const gone = await worker(t, site, 'gone', lasting);
  const stays = await worker(t, site, 'stays', lasting);
  await say(site, 'once', 2);
  await Promise.race([published(gone, 'once'), published(stays, 'once')]);
  const [has, hasNot] = said(gone).length > 0 ? [gone, stays] : [stays, gone];
  const clientId = has === gone ? 'gone' : 'stays';
  await leave(has);
  await pinged(hasNot);
  t.same(said(hasNot), []);
  const { client: back } = await meter5(t, site, { clientId, ...lasting });
  t.match(await published(back, 'once'), { dup: true });
});

t.test('with nobody there it waits, and goes to whoever of the group comes first', async (t) => {
  const site = await openSite(t);
  for (const id of ['a', 'b']) await leave(await worker(t, site, id, lasting));
  const texts = ['1', '2', '3', '4'];
  for (const text of texts) await say(site, text);
  await say(site, 'lost', 0);
  const second = await site.restart();
  const { client } = await meter5(t, second, { clientId: 'b', ...lasting });
  for (const text of texts) t.ok(await published(client, text));
  t.same(said(client).length, 4);
});

t.test('a member that ends, or unsubscribes, leaves what it was owed to the others', async (t) => {
  const site = await openSite(t);
  const one = { receiveMaximum: 1 };
  const clean = await worker(t, site, 'clean', { properties: one });
  for (const text of ['1', '2', '3']) await say(site, text);
  await published(clean, '1');
  const stays = await worker(t, site, 'stays', { properties: { receiveMaximum: 10 } });
  await leave(clean);
  for (const text of ['1', '2', '3']) t.ok(await published(stays, text));
  acknowledge(stays);
  const quits = await worker(t, site, 'quits', { properties: one });
  await pinged(stays);
  for (const text of ['4', '5', '6', '7']) await say(site, text);
  await pinged(quits);
  quits.send({ cmd: 'unsubscribe', messageId: 50, unsubscriptions: [shared] });
  await quits.packet('unsuback');
  const kept = said(quits);
  t.equal(kept.length, 1, 'what it has is its own');
  for (const text of ['4', '5', '6', '7']) {
    if (!kept.includes(text)) t.ok(await published(stays, text));
  }
  await say(site, 'after');
  t.ok(await published(stays, 'after'));
  t.same(said(quits), kept);
});

t.test('groups get nothing retained, carry properties, and are bounded', async (t) => {
  const limits = { shared: { maxGroups: 1, maxMembers: 2 } };
  const site = await openSite(t, { limits: { ...limits, mqtt5: defaultLimits.mqtt5 } });
  const { client } = await meter5(t, site, { clientId: 'says' });
  client.send(publish5({ payload: 'kept', retain: true, qos: 1, messageId: 1 }));
  await client.packet('puback');
  const [a] = [await worker(t, site, 'a'), await worker(t, site, 'b')];
  const { client: late } = await meter5(t, site, { clientId: 'late' });
  t.same(
    await subscribe5(late, [
      { topic: shared },
      { topic: '$share/more/w/#' },
      { topic: '$share/x' },
    ]),
    [0x97, 0x97, 0x8f],
  );
  await pinged(a);
  t.same(said(a), []);
  const properties = { userProperties: { a: '1' } };
  for (const payload of ['1', '2']) client.send(publish5({ payload, properties }));
  await pinged(client);
  await pinged(a);
  t.match(publishes(a), [{ properties }]);
});

t.test('what waits goes to a member only as it has room, and nothing of it is lost', async (t) => {
  const limits = { serviceSession: { ...defaultLimits.serviceSession, maxMessages: 20 } };
  const site = await openSite(t, { limits });
  const [first, second] = [
    await worker(t, site, 'a', lasting),
    await worker(t, site, 'b', lasting),
  ];
  await leave(first);
  await leave(second);
  const texts = Array.from({ length: 30 }, (_, at) => `${at}`);
  for (const text of texts) await say(site, text);
  t.same(site.dropped, [], 'the two have room for all of it');
  const { client } = await meter5(t, site, { clientId: 'a', ...lasting });
  const acknowledged = new Set<string>();
  while (acknowledged.size < texts.length && site.dropped.length === 0) {
    const next = await client.packet(
      'publish',
      ({ payload }) => !acknowledged.has(payload.toString()),
    );
    if (next?.messageId === undefined) break;
    acknowledged.add(next.payload.toString());
    client.send({ cmd: 'puback', messageId: next.messageId });
  }
  t.same(site.dropped, []);
  t.same([...acknowledged].sort(), texts.sort());
});
