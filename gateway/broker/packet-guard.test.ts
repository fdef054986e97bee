import fc from 'fast-check';
import { generate, type Packet } from 'mqtt-packet';
import t from 'tap';
import { type Guarded, type Malformation, takePacket } from './packet-guard.js';

const limits = { maxConnectBytes: 1_024, maxPacketBytes: 65_536 };
const connect: Packet = {
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 4,
  clean: true,
  keepalive: 1,
  clientId: 'pump-1',
  username: 'user',
  password: Buffer.from([0, 255]),
  will: { topic: 'dt/pump-1/x', payload: Buffer.from([0, 254]), qos: 1, retain: false },
};
const publish = (topic: string, payload = 'x'): Packet => ({
  cmd: 'publish',
  topic,
  payload,
  qos: 1,
  messageId: 7,
  dup: false,
  retain: false,
});
const whyOf = (guarded: Guarded): Malformation | undefined =>
  guarded.kind === 'malformed' ? guarded.why : undefined;
const text = (bytes: number[]): number[] => [0, bytes.length, ...bytes];

t.test('takes packet after packet and leaves the rest', async (t) => {
  const first = generate(publish('a'));
  const second = generate({ cmd: 'pingreq' });
  const bytes = Buffer.concat([first, second, Buffer.from([0x30])]);
  const end = first.length + second.length;
  t.same(takePacket(bytes, 0, false, limits), { kind: 'packet', end: first.length });
  t.same(takePacket(bytes, first.length, false, limits), { kind: 'packet', end });
  t.same(takePacket(bytes, end, false, limits), { kind: 'incomplete', needed: 2 });
});

t.test('cut anywhere, a packet is incomplete and never more', async (t) => {
  for (const packet of [connect, publish('a/b', 'x'.repeat(300))]) {
    const bytes = generate(packet);
    for (let length = 0; length < bytes.length; length += 1) {
      const guarded = takePacket(bytes.subarray(0, length), 0, packet === connect, limits);
      t.equal(guarded.kind, 'incomplete');
    }
    t.equal(takePacket(bytes, 0, packet === connect, limits).kind, 'packet');
  }
});

t.test('the first packet is CONNECT and small', async (t) => {
  t.equal(whyOf(takePacket(generate(publish('a')), 0, true, limits)), 'CONNECT_EXPECTED');
  // Said with the fixed header alone, before there is anything to hold.
  t.equal(
    whyOf(takePacket(Buffer.from([0x10, 0x80, 0x80, 0x01]), 0, true, limits)),
    'PACKET_TOO_LARGE',
  );
  t.equal(
    whyOf(takePacket(Buffer.from([0x30, 255, 255, 255, 127]), 0, false, limits)),
    'PACKET_TOO_LARGE',
  );
  t.equal(
    whyOf(takePacket(Buffer.from([0x30, 255, 255, 255, 255, 1]), 0, false, limits)),
    'LENGTH_MALFORMED',
  );
});

t.test('text with NUL, overlong forms, surrogates or broken UTF-8 is malformed', async (t) => {
  const bad = [
    [0],
    [0x61, 0, 0x62],
    [0xc0, 0x80],
    [0xe0, 0x80, 0xaf],
    [0xed, 0xa0, 0x80],
    [0xff],
    [0xc3],
  ];
  for (const bytes of bad) {
    const body = [...text(bytes), 0, 1, 120];
    t.equal(
      whyOf(takePacket(Buffer.from([0x32, body.length, ...body]), 0, false, limits)),
      'TEXT_MALFORMED',
    );
    const filters = [0, 1, ...text([0x61]), 0, ...text(bytes), 0];
    t.equal(
      whyOf(takePacket(Buffer.from([0x82, filters.length, ...filters]), 0, false, limits)),
      'TEXT_MALFORMED',
    );
    const id = [...text([0x4d, 0x51, 0x54, 0x54]), 4, 2, 0, 60, ...text(bytes)];
    t.equal(
      whyOf(takePacket(Buffer.from([0x10, id.length, ...id]), 0, true, limits)),
      'TEXT_MALFORMED',
    );
  }
});

t.test('a field longer than its packet and a packet id of 0 are malformed', async (t) => {
  t.equal(
    whyOf(takePacket(Buffer.from([0x30, 4, 0, 9, 97, 98]), 0, false, limits)),
    'PACKET_TRUNCATED',
  );
  t.equal(
    whyOf(takePacket(Buffer.from([0x32, 5, 0, 1, 97, 0, 0]), 0, false, limits)),
    'PACKET_ID_ZERO',
  );
});

t.test('no bytes make it throw or take more than there is', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isFirst) => {
      const guarded = takePacket(Buffer.from(bytes), 0, isFirst, limits);
      if (guarded.kind === 'packet') {
        t.ok(guarded.end >= 2 && guarded.end <= bytes.length);
      }
    }),
    { numRuns: 3_000 },
  );
});
