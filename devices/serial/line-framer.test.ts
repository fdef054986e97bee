import { randomBytes } from 'node:crypto';
import t from 'tap';
import { checkLine, crc16, crc32, isAsPromised, withChecksum } from './checksum.js';
import { LineFramer } from './line-framer.js';

const framer = () => new LineFramer({ maxLineBytes: 64 });

t.test('gives the same lines however the bytes are cut', async (t) => {
  const bytes = Buffer.from('{"t":"get"}\r\n\n{"t":"pong","x":"é"}\n{"t":');
  const expected = ['{"t":"get"}', '{"t":"pong","x":"é"}'];
  for (let size = 1; size <= bytes.length; size += 1) {
    const cut = framer();
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      lines.push(...cut.push(bytes.subarray(at, at + size)));
    }
    t.same(lines, expected, `${String(size)} bytes at a time`);
  }
});

t.test('throws away what stands before the object of a line', async (t) => {
  const cut = framer();
  t.same(cut.push(Buffer.from('\x00\xfe~~{"t":"get"}\n', 'latin1')), ['{"t":"get"}']);
  t.same(cut.counts, { discardedBytes: 4, overlongLines: 0 });
});

t.test(
  'is right again one newline after a flood, and keeps no more than a line of it',
  async (t) => {
    const cut = framer();
    for (let i = 0; i < 100; i += 1) t.same(cut.push(Buffer.alloc(1000, 'x')), []);
    t.same(cut.push(Buffer.from('x\n{"t":"get"}\n')), ['{"t":"get"}']);
    t.same(cut.counts, { discardedBytes: 100_001, overlongLines: 1 });
  },
);

t.test('an overlong line that comes in small pieces is thrown away whole', async (t) => {
  const cut = framer();
  for (let i = 0; i < 65; i += 1) cut.push(Buffer.from('{'));
  t.same(cut.push(Buffer.from('}\n{}\n')), ['{}']);
  t.equal(cut.counts.overlongLines, 1);
});

t.test('bytes that are no UTF-8 cost their line alone', async (t) => {
  const cut = framer();
  t.same(cut.push(Buffer.from('{"t":"\xff"}\n{}\n', 'latin1')), ['{}']);
});

t.test('no noise gets an object out of it that was not sent', async (t) => {
  const cut = framer();
  for (let i = 0; i < 200; i += 1) {
    cut.push(randomBytes(50));
    const lines = cut.push(Buffer.from('\n{"t":"get"}\n'));
    t.equal(lines.at(-1), '{"t":"get"}');
  }
});

t.test(
  'the checksums are CRC-16/CCITT-FALSE and CRC-32/ISO-HDLC, and find a changed bit',
  async (t) => {
    t.equal(crc16(Buffer.from('123456789')), 0x29b1);
    t.equal(crc32(Buffer.from('123456789')), 0xcbf43926);
    const json = '{"t":"get"}';
    for (const checksum of [true, 32] as const) {
      const line = withChecksum(json, checksum);
      t.same(checkLine(line), { ok: true, json, checksum });
      t.same(checkLine(line.replace('get', 'gat')), { ok: false });
    }
    t.same(checkLine(withChecksum(json, 32).slice(0, -4)), { ok: false }, 'half of it is none');
    t.same(checkLine(json), { ok: true, json, checksum: false });
  },
);

t.test('better protected than promised is as good, worse is not', async (t) => {
  const all = [false, true, 32] as const;
  const held = all.map((had) => all.map((promised) => isAsPromised(had, promised)));
  t.same(held, [
    [true, false, false],
    [true, true, false],
    [true, true, true],
  ]);
});
