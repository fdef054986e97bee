/** The rows of `trust/access-table` that the broker has to keep, through real connections: live, retained, queued, and as a will. */
import { generate } from 'mqtt-packet';
import t, { type Test } from 'tap';
import type { AccessRefusal } from '../trust/access-log.js';
import type { Identity } from '../trust/identity.js';
import {
  connectDevice,
  connectService,
  openSite,
  type RawClient,
  rawDevice,
  rawMeter,
  receivedBy,
  type Site,
  type SiteOverrides,
} from './broker-fixture.js';

const bytes = (text: string): Buffer => Buffer.from(text);

const openWatched = async (t: Test, overrides: SiteOverrides = {}) => {
  const refused: AccessRefusal[] = [];
  const site = await openSite(t, { ...overrides, onRefused: (one) => refused.push(one) });
  return { site, refused };
};

const readyDevice = async (t: Test, site: Site): Promise<RawClient> => {
  const client = await rawDevice(t, site, 'pump-1');
  await client.connect({ clientId: 'pump-1' });
  return client;
};

/** Topics that are not pump-1's, with why. */
const foreign = [
  ['dt/pump-2/telemetry/flow', 'TOPIC_OF_ANOTHER'],
  ['dt/pump-10/telemetry/flow', 'TOPIC_OF_ANOTHER'],
  ['dt/pump-1', 'TOPIC_OF_ANOTHER'],
  ['/dt/pump-1/x', 'TOPIC_OF_ANOTHER'],
  ['__proto__', 'TOPIC_OF_ANOTHER'],
  ['$SYS/broker/uptime', 'TOPIC_RESERVED'],
  ['$aws/things/pump-2/shadow/get', 'TOPIC_OF_ANOTHER'],
  ['$share/g/dt/pump-1/x', 'TOPIC_RESERVED'],
  [`dt/pump-1/${'a'.repeat(60_000)}`, 'TOPIC_TOO_LONG'],
  [`dt/pump-1${'/'.repeat(1_000)}`, 'TOPIC_TOO_LONG'],
] as const;

t.test(
  'fault 17: a publish outside its own topics ends the connection and does nothing',
  async (t) => {
    const { site, refused } = await openWatched(t);
    for (const [at, [topic, reason]] of foreign.entries()) {
      const qos = ([1, 2, 0] as const)[at % 3] ?? 0;
      const client = await readyDevice(t, site);
      const messageId = qos === 0 ? {} : { messageId: 1 };
      client.send({
        cmd: 'publish',
        topic,
        payload: 'x',
        qos,
        dup: false,
        retain: true,
        ...messageId,
      });
      await client.closed;
      t.notOk(client.packets.some(({ cmd }) => cmd === 'puback' || cmd === 'pubrec'));
      t.match(refused.pop(), { verb: 'publish', what: topic, reason });
    }
    t.same(site.handled, []);
    t.same(await site.store.read.all('SELECT * FROM mqtt_retained'), []);
  },
);

t.test('fault 17: a subscription outside its own topics is refused, one by one', async (t) => {
  const { site, refused } = await openWatched(t);
  const filters = [
    ...foreign,
    ['#', 'TOPIC_OF_ANOTHER'],
    ['+/+/#', 'TOPIC_OF_ANOTHER'],
    ['dt/+/#', 'TOPIC_OF_ANOTHER'],
    ['dt/pump-2/#', 'TOPIC_OF_ANOTHER'],
    ['$SYS/#', 'TOPIC_RESERVED'],
    ['$share/g/dt/pump-1/#', 'TOPIC_RESERVED'],
  ] as const;
  const client = await readyDevice(t, site);
  let messageId = 0;
  for (const [filter, reason] of filters) {
    // More levels than the protocol library takes end the connection there.
    if (filter.split('/').length > 100) continue;
    messageId += 1;
    const id = messageId;
    client.send({ cmd: 'subscribe', messageId: id, subscriptions: [{ topic: filter, qos: 1 }] });
    const answer = await client.packet('suback', (packet) => packet.messageId === id);
    t.same(answer?.granted, [128], filter.slice(0, 40));
    t.match(refused.pop(), { verb: 'subscribe', what: filter, reason });
  }
  client.send({
    cmd: 'subscribe',
    messageId: 99,
    subscriptions: [{ topic: 'dt/pump-1/#', qos: 1 }],
  });
  t.same((await client.packet('suback', (one) => one.messageId === 99))?.granted, [1]);
});

t.test('fault 18: a will outside its own topics is refused at CONNECT', async (t) => {
  const { site, refused } = await openWatched(t);
  const malformed = ['#', 'dt/pump-1/+'].map((topic) => [topic, 'TOPIC_MALFORMED'] as const);
  for (const [topic, reason] of [...foreign, ...malformed]) {
    const client = await rawDevice(t, site, 'pump-1');
    const will = { topic, payload: bytes('boo'), qos: 1 as const, retain: true };
    t.equal(await client.connect({ clientId: 'pump-1', will }), 5, topic.slice(0, 40));
    t.match(refused.pop(), { verb: 'will', what: topic, reason });
  }
  t.same(await site.store.read.all('SELECT * FROM mqtt_wills'), []);
});

t.test(
  'fault 19: client ids that are not the device’s are refused, and nobody else notices',
  async (t) => {
    const { site, refused } = await openWatched(t);
    const steady = await connectDevice(t, site, 'pump-2');
    const ids = [
      ['#', 'CLIENT_ID_MALFORMED'],
      ['+', 'CLIENT_ID_MALFORMED'],
      ['/', 'CLIENT_ID_MALFORMED'],
      ['pump-1/x', 'CLIENT_ID_MALFORMED'],
      ['pump-1:#', 'CLIENT_ID_MALFORMED'],
      ['x'.repeat(60_000), 'CLIENT_ID_MALFORMED'],
      ['__proto__', 'CLIENT_ID_OF_ANOTHER'],
      ['constructor', 'CLIENT_ID_OF_ANOTHER'],
      ['pump-2', 'CLIENT_ID_OF_ANOTHER'],
      ['pump-2:a', 'CLIENT_ID_OF_ANOTHER'],
    ] as const;
    for (const [clientId, reason] of ids) {
      const client = await rawDevice(t, site, 'pump-1');
      t.equal(await client.connect({ clientId }), 2, clientId.slice(0, 40));
      t.match(refused.pop(), { verb: 'connect', what: clientId, reason });
    }
    await steady.publishAsync('dt/pump-2/telemetry/x', '1', { qos: 1 });
    t.equal(steady.connected, true);
  },
);

/** A text as MQTT writes it, of any bytes. */
const text = (content: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([content.length >> 8, content.length & 255]), content]);
const packet = (first: number, ...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  const head = [first];
  for (let rest = body.length; ; rest >>= 7) {
    head.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest < 128) break;
  }
  return Buffer.concat([Buffer.from(head), body]);
};

t.test('fault 20: NUL and broken UTF-8, wherever a text may stand, disconnect', async (t) => {
  const { site } = await openWatched(t);
  const id = Buffer.from([0, 1]);
  const qos = Buffer.from([1]);
  const head = (flags: number) =>
    Buffer.concat([text(bytes('MQTT')), Buffer.from([4, flags, 0, 60])]);
  const own = text(bytes('pump-1'));
  const places: readonly ((topic: Buffer) => Buffer)[] = [
    (topic) => packet(0x30, topic),
    (topic) => packet(0x32, topic, id),
    (topic) => packet(0x34, topic, id),
    (topic) => packet(0x82, id, topic, qos),
    (topic) => packet(0x82, id, text(bytes('dt/pump-1/#')), qos, topic, qos),
    (topic) => packet(0xa2, id, topic),
    // In CONNECT: client id, will topic, user name.
    (topic) => packet(0x10, head(2), topic),
    (topic) => packet(0x10, head(6), own, topic, text(bytes('x'))),
    (topic) => packet(0x10, head(130), own, topic),
  ];
  const contents = [[0x61, 0], [0xc0, 0x80], [0xff], [0xed, 0xa0, 0x80], [0xe2, 0x82]];
  for (const [at, place] of places.entries()) {
    for (const content of [contents[0], contents[1 + (at % 4)]]) {
      const bad = place(text(Buffer.from([...bytes('dt/pump-1/'), ...(content ?? [])])));
      const isFirst = bad[0] === 0x10;
      const client = isFirst ? await rawDevice(t, site, 'pump-1') : await readyDevice(t, site);
      client.socket.write(bad);
      await client.closed;
      const answers = client.packets.map(({ cmd }) => cmd);
      t.same(answers, isFirst ? [] : ['connack'], bad.toString('hex', 0, 24));
    }
  }
  t.same(site.handled, []);
});

t.test('fault 20: a text longer than its packet, and a filter of 65,535 bytes', async (t) => {
  const { site } = await openWatched(t);
  const overrun = await readyDevice(t, site);
  overrun.socket.write(Buffer.from([0x30, 4, 0xff, 0xff, 0x61, 0x62]));
  await overrun.closed;
  const long = await readyDevice(t, site);
  long.socket.write(
    packet(0x82, Buffer.from([0, 1]), text(Buffer.alloc(65_535, '/')), Buffer.from([1])),
  );
  await long.closed;
  t.notOk(long.packets.some(({ cmd }) => cmd === 'suback'));
});

t.test(
  'fault 21: whatever comes first and is no CONNECT is cut, and what is too large at its header',
  async (t) => {
    const { site } = await openWatched(t);
    for (const first of [
      generate({ cmd: 'pingreq' }),
      generate({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: 'dt/pump-1/#', qos: 0 }],
      }),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]),
      Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 0x01]),
      Buffer.from([0x10, 0x81, 0x80, 0x04]),
      Buffer.from([0x10, 2, 0, 4]),
      Buffer.from([0x00, 0]),
    ]) {
      const client = await rawDevice(t, site, 'pump-1');
      client.socket.write(first);
      await client.closed;
      t.same(client.packets, [], first.toString('hex', 0, 12));
    }
  },
);

t.test(
  'a service keeps of its session what its policy still grants: queued, retained and live',
  async (t) => {
    let subscribe = ['dt/#'];
    const meter = (): Identity => ({ kind: 'service', name: 'meter', publish: [], subscribe });
    const { site, refused } = await openWatched(t, { authenticateService: async () => meter() });
    const say = (device: string, payload: string, retain = false): Promise<void> =>
      site.broker.publish({ topic: `dt/${device}/x`, payload: bytes(payload), qos: 1, retain });
    const first = await connectService(t, site, { clean: false });
    await first.subscribeAsync(['dt/#', 'dt/pump-1/#'], { qos: 1 });
    await first.endAsync();
    await say('pump-1', 'queued');
    await say('pump-2', 'queued secret');
    await say('pump-2', 'retained secret', true);

    subscribe = ['dt/pump-1/#'];
    const back = await connectService(t, site, { clean: false });
    await say('pump-2', 'live secret');
    await say('pump-1', 'live');
    await say('pump-1', 'kept', true);
    t.same(
      (await back.subscribeAsync('dt/#', { qos: 1 }).catch(() => 'refused')) && 'refused',
      'refused',
    );
    await back.subscribeAsync('dt/pump-1/#', { qos: 1 });
    await receivedBy(back).next(4);
    t.same(receivedBy(back).payloads, ['queued', 'live', 'kept', 'kept']);
    t.same(
      site.dropped.map(({ reason, count }) => [reason, count]),
      [
        ['NOT_AUTHORISED', 1],
        ['NOT_AUTHORISED', 1],
      ],
      'what was queued for it before goes, counted',
    );
    t.ok(refused.every(({ what, reason }) => what === 'dt/#' && reason === 'TOPIC_OUTSIDE_POLICY'));

    // The subscription is gone for good, and comes back with the right alone.
    await back.endAsync();
    subscribe = ['dt/#'];
    const again = await connectService(t, site, { clean: false });
    await say('pump-2', 'open');
    await say('pump-1', 'own');
    await receivedBy(again).next(1);
    t.same(receivedBy(again).payloads, ['own']);
    await again.subscribeAsync('dt/pump-2/#', { qos: 1 });
    t.match(await receivedBy(again).next(2), [{}, { payload: 'retained secret', retain: true }]);
  },
);

t.test('a will whose right is gone by the time it is due is not published, nor kept', async (t) => {
  let publish = ['plant/#'];
  const meter = (): Identity => ({ kind: 'service', name: 'meter', publish, subscribe: ['#'] });
  const { site: first } = await openWatched(t, { authenticateService: async () => meter() });
  const will = { topic: 'plant/light', payload: bytes('dark'), qos: 1 as const };
  await rawMeter(t, first, { clientId: 'w', will });
  publish = [];
  // Stored with the right it had; as if the policy had been another when it was stored.
  await first.store.commits.commit([
    { sql: `UPDATE mqtt_wills SET identity = json_set(identity, '$.publish', json('[]'))` },
  ]);
  const second = await first.restart();
  t.same(second.handled, []);
  t.same(await second.store.read.all('SELECT * FROM mqtt_wills'), []);
});
