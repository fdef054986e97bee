import { randomBytes } from 'node:crypto';
import t from 'tap';
import { crcOf, encodePacket, PacketDecoder, packetRoom } from './smp-framing.js';

t.test('has the CRC-16/XMODEM of the catalogue', async (t) => {
  t.equal(crcOf(Buffer.from('123456789')), 0x31c3);
});

t.test('frames an echo as mcumgr does', async (t) => {
  // A write of group 0, command 0, with the sequence number 1 and {"d": "hi"}.
  const packet = Buffer.from('0200000600000100a16164626869', 'hex');
  const lines = encodePacket(packet);
  t.same([...lines.subarray(0, 2)], [0x06, 0x09]);
  const framed = Buffer.from(lines.subarray(2, -1).toString(), 'base64');
  t.equal(framed.readUInt16BE(0), packet.length + 2);
  t.equal(crcOf(framed.subarray(2)), 0);
});

t.test('cuts lines that a buffer of 128 bytes takes, and each is whole Base64', async (t) => {
  const lines = encodePacket(randomBytes(400)).toString('latin1').split('\n').slice(0, -1);
  t.equal(lines.length, 5);
  t.ok(lines.every((line) => line.length <= 126 && (line.length - 2) % 4 === 0));
  t.equal(lines[0]?.slice(0, 2), '\x06\x09');
  t.ok(lines.slice(1).every((line) => line.startsWith('\x04\x14')));
});

t.test('gives back what was framed, however it arrives', async (t) => {
  for (const size of [8, 91, 92, 93, 400, 2_000]) {
    const packet = randomBytes(size);
    const bytes = encodePacket(packet);
    const whole = new PacketDecoder();
    t.same(whole.push(bytes), [packet]);
    const dribbled = new PacketDecoder();
    t.same(
      [...bytes].flatMap((byte) => dribbled.push(Buffer.from([byte]))),
      [packet],
    );
  }
});

t.test('reads past what a console prints between the lines', async (t) => {
  const packet = randomBytes(200);
  const lines = encodePacket(packet).toString('latin1').split('\n');
  const noisy = ['*** Booting MCUboot v2.1.0 ***\r', ...lines.slice(0, 1), '[00:00] <inf> erase\r'];
  const bytes = Buffer.from(
    [...noisy, `uart:~$ ${lines[1] ?? ''}\r`, ...lines.slice(2)].join('\n'),
    'latin1',
  );
  t.same(new PacketDecoder().push(bytes), [packet]);
});

t.test('drops what is garbled or cut off, and takes the next', async (t) => {
  const first = encodePacket(randomBytes(300));
  const next = randomBytes(20);
  for (let at = 2; at < first.length; at += 7) {
    const garbled = Buffer.from(first);
    garbled.writeUInt8(garbled.readUInt8(at) ^ 0x15, at);
    const packets = new PacketDecoder().push(Buffer.concat([garbled, encodePacket(next)]));
    t.same(packets.at(-1), next);
    t.equal(packets.length, 1, `a bit of byte ${String(at)}`);
    const cut = Buffer.concat([first.subarray(0, at), Buffer.from('\n'), encodePacket(next)]);
    t.same(new PacketDecoder().push(cut).at(-1), next);
  }
});

t.test('keeps a packet within a buffer, its length and CRC with it', async (t) => {
  t.equal(packetRoom(512), 508);
});

t.test('a packet that comes in crumbs costs no more than one that comes in lines', async (t) => {
  const packet = randomBytes(60_000);
  const framed = Buffer.alloc(packet.length + 4);
  framed.writeUInt16BE(packet.length + 2, 0);
  packet.copy(framed, 2);
  framed.writeUInt16BE(crcOf(packet), packet.length + 2);
  const base64 = framed.toString('base64');
  const crumbs: Buffer[] = [];
  for (let at = 0; at < base64.length; at += 4) {
    const mark = at === 0 ? [0x06, 0x09] : [0x04, 0x14];
    crumbs.push(Buffer.from(mark), Buffer.from(`${base64.slice(at, at + 4)}\n`));
  }
  const bytes = Buffer.concat(crumbs);
  const startedAt = process.cpuUsage();
  t.same(new PacketDecoder().push(bytes), [packet]);
  const { user, system } = process.cpuUsage(startedAt);
  t.ok(user + system < 1_000_000, `${(user + system) / 1_000} ms`);
});
