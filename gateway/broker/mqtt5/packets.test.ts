/** The packets of MQTT 5 by themselves, beside mqtt-packet, which is not used for them. */
import { generate, type Packet, parser } from 'mqtt-packet';
import t from 'tap';
import { defaultLimits } from '../broker-limits.js';
import {
  parseAcknowledgement,
  parseConnect,
  parseDisconnect,
  parsePublish,
  parseSubscribe,
  parseUnsubscribe,
} from './packets-in.js';
import { publishHead, sizePublish } from './packets-out.js';

const limits = defaultLimits.mqtt5;
const version = { protocolVersion: 5 } as const;

const bodyAt = (bytes: Buffer): number => {
  let at = 1;
  while ((bytes[at] ?? 0) > 127) at += 1;
  return at + 1;
};

const parse = (bytes: Buffer) => {
  const first = bytes[0] ?? 0;
  const body = [bytes, bodyAt(bytes), bytes.length, limits] as const;
  switch (first >> 4) {
    case 1:
      return parseConnect(...body);
    case 3:
      return parsePublish(bytes, first, bodyAt(bytes), bytes.length, limits);
    case 8:
      return parseSubscribe(...body);
    case 10:
      return parseUnsubscribe(...body);
    case 14:
      return parseDisconnect(...body);
    default:
      return parseAcknowledgement(...body);
  }
};

const carried = {
  payloadFormatIndicator: true,
  contentType: 'ü',
  responseTopic: 'a/b',
  correlationData: Buffer.from([0, 255]),
  userProperties: { a: ['1', '2'], b: '' },
};

const packets: Packet[] = [
  {
    ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId: 'a', clean: false },
    ...{ keepalive: 9, username: 'u', password: Buffer.from('p') },
    properties: {
      ...{ sessionExpiryInterval: 7, receiveMaximum: 3, maximumPacketSize: 99 },
      ...{ topicAliasMaximum: 4, requestProblemInformation: false, userProperties: { a: '1' } },
    },
    will: {
      ...{ topic: 'w', payload: Buffer.from('x'), qos: 2, retain: true },
      properties: { ...carried, willDelayInterval: 5, messageExpiryInterval: 6 },
    },
  },
  {
    ...{
      cmd: 'publish',
      topic: 'a/b',
      payload: 'x',
      qos: 2,
      messageId: 7,
      dup: true,
      retain: true,
    },
    properties: { ...carried, messageExpiryInterval: 9, topicAlias: 3 },
  },
  {
    ...{ cmd: 'subscribe', messageId: 8, properties: { subscriptionIdentifier: 268_435_455 } },
    subscriptions: [
      { topic: 'a/#', qos: 1, nl: true, rap: true, rh: 1 },
      { topic: 'b', qos: 0 },
    ],
  },
  { cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['a/#', 'b'] },
  { cmd: 'puback', messageId: 10, reasonCode: 0x80, properties: { reasonString: 'no' } },
  { cmd: 'disconnect', reasonCode: 4, properties: { sessionExpiryInterval: 5 } },
];

const written = packets.map((packet) => generate(packet, version));

t.test('what another writes is read as it was meant', async (t) => {
  const [connect, publish, subscribe, unsubscribe, puback, disconnect] = written.map(
    (bytes) => parse(bytes) as { value: object },
  );
  t.match(connect?.value, {
    ...{ clientId: 'a', cleanStart: false, keepaliveS: 9, sessionExpiryS: 7, receiveMaximum: 3 },
    ...{ maximumPacketSize: 99, topicAliasMaximum: 4, wantsReasons: false, username: 'u' },
    will: { topic: 'w', qos: 2, retain: true, delayMs: 5_000, expiryMs: 6_000 },
  });
  t.match(publish?.value, {
    ...{ topic: 'a/b', qos: 2, packetId: 7, retain: true, expiryMs: 9_000, topicAlias: 3 },
    ...{ isUtf8: true, isOverfull: false, payload: Buffer.from('x') },
  });
  t.same(subscribe?.value, {
    packetId: 8,
    subscriptions: [
      {
        ...{ filter: 'a/#', qos: 1, retainHandling: 1, noLocal: true, retainAsPublished: true },
        identifier: 268_435_455,
      },
      { filter: 'b', qos: 0, retainHandling: 0, identifier: 268_435_455 },
    ],
  });
  t.same(unsubscribe?.value, { packetId: 9, filters: ['a/#', 'b'] });
  t.same(puback?.value, { packetId: 10, code: 0x80 });
  t.same(disconnect?.value, { code: 4, sessionExpiryS: 5 });
});

t.test('a packet that is cut short anywhere is malformed, or shorter and whole', async (t) => {
  for (const bytes of written) {
    for (let end = bodyAt(bytes); end < bytes.length; end += 1) {
      const parsed = parse(bytes.subarray(0, end));
      if ('fault' in parsed) t.ok(parsed.fault === 0x81 || parsed.fault === 0x82);
    }
  }
});

t.test('no bytes make the parser throw, or take more than they are', async (t) => {
  // A generator of its own, so that what fails can be run again.
  let state = 20_261_122;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let values = 0;
  for (let run = 0; run < 20_000; run += 1) {
    const bytes = Buffer.from(written[random(written.length)] ?? []);
    const from = bodyAt(bytes);
    for (let flips = random(4); flips >= 0; flips -= 1) {
      bytes[from + random(bytes.length - from)] = random(256);
    }
    if ('value' in parse(bytes)) values += 1;
  }
  t.ok(values > 0 && values < 20_000, `${values} of 20,000 were packets`);
});

t.test('properties are those of their packet, once each, and what they must be', async (t) => {
  const publish = (...properties: number[]): unknown => {
    const bytes = Buffer.from([0x30, 0, 0, 1, 97, properties.length, ...properties]);
    bytes[1] = bytes.length - 2;
    const parsed = parse(bytes);
    return 'fault' in parsed ? parsed.fault : 'taken';
  };
  t.equal(publish(0x01, 1), 'taken');
  t.equal(publish(0x01, 2), 0x82, 'a flag is 0 or 1');
  t.equal(publish(0x01, 1, 0x01, 1), 0x82, 'once');
  t.equal(publish(0x26, 0, 0, 0, 0, 0x26, 0, 0, 0, 0), 'taken', 'but for user properties');
  t.equal(publish(0x0b, 1), 0x81, 'a subscription identifier is the server’s to say');
  t.equal(publish(0x11, 0, 0, 0, 1), 0x81, 'of CONNECT');
  t.equal(publish(0x7f, 0), 0x81, 'unknown');
  t.equal(publish(0x03, 0, 2, 0x61), 0x81, 'longer than all of them');
  t.equal(publish(0x03, 0, 1, 0), 0x81, 'NUL');
  t.equal(publish(0x08, 0, 1, 0x23), 0x82, 'an answer goes to a topic, not to a filter');
  t.equal(publish(0x26, 0, 1, 0xff, 0, 0), 0x81, 'not UTF-8');
});

t.test('what is written is read by another as it was meant, at every length', async (t) => {
  for (const length of [0, 1, 100, 127, 128, 16_000, 16_384, 200_000, 2_097_152]) {
    const payload = Buffer.alloc(length, 1);
    for (const qos of [0, 1] as const) {
      const fields = {
        ...{ topic: 'a/b', wireTopic: 'a/b', payload, qos, retain: true, dup: qos === 1 },
        ...(qos === 1 && { packetId: 513 }),
        ...{ topicAlias: qos === 1 ? 258 : undefined, expiryS: qos === 0 ? 70_000 : undefined },
        properties: Buffer.from([0x03, 0, 1, 0x61]),
      };
      const size = sizePublish(fields);
      const bytes = Buffer.concat([publishHead(fields, size), payload]);
      t.equal(bytes.length, size.total);
      const read: Packet[] = [];
      parser(version)
        .on('packet', (packet) => read.push(packet))
        .parse(bytes);
      t.match(read, [
        {
          ...{
            cmd: 'publish',
            topic: 'a/b',
            qos,
            retain: true,
            dup: qos === 1,
            length: size.remaining,
          },
          ...(qos === 1 && { messageId: 513 }),
          properties: {
            contentType: 'a',
            ...(qos === 1 ? { topicAlias: 258 } : { messageExpiryInterval: 70_000 }),
          },
        },
      ]);
    }
  }
});
