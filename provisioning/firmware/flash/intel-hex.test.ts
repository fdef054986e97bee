import t from 'tap';
import { bytesOfIntelHex } from './intel-hex.js';

/** A record with its checksum. */
const record = (type: number, offset: number, data: readonly number[]): string => {
  const bytes = [data.length, offset >> 8, offset & 0xff, type, ...data];
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  return `:${Buffer.from([...bytes, -sum & 0xff])
    .toString('hex')
    .toUpperCase()}`;
};
const end = ':00000001FF';
const parse = (lines: readonly string[], limitBytes = 32_768) =>
  bytesOfIntelHex(Buffer.from(lines.join('\n')), { limitBytes });

t.test('data in any order, with gaps as erased flash', async (t) => {
  const bytes = parse([record(0, 4, [5, 6]), record(0, 0, [1, 2]), end]);
  t.same([...bytes], [1, 2, 0xff, 0xff, 5, 6]);
});

t.test(
  'reads what tools write: carriage returns, small letters, start addresses, a last empty line',
  async (t) => {
    const text = [
      record(0, 0, [0xab]),
      record(3, 0, [0, 0, 0, 0]),
      record(5, 0, [0, 0, 0, 0]),
      end,
    ];
    const file = Buffer.from(`${text.join('\r\n').toLowerCase()}\r\n\n`);
    t.same([...bytesOfIntelHex(file, { limitBytes: 16 })], [0xab]);
  },
);

t.test('addresses beyond 64 KB, linear and by segment', async (t) => {
  for (const base of [record(4, 0, [0, 1]), record(2, 0, [0x10, 0x00])]) {
    const bytes = parse([base, record(0, 2, [7]), end], 262_144);
    t.equal(bytes.length, 65_539);
    t.equal(bytes.at(-1), 7);
  }
});

t.test('refuses what is damaged, and says in which line', async (t) => {
  const good = record(0, 0, [1, 2, 3, 4]);
  const wrong: [string, readonly string[], number][] = [
    ['a wrong checksum', [good, ':0100040001F9', end], 2],
    ['a digit too few', [good, good.slice(0, -1), end], 2],
    ['no hexadecimal digit', [good, ':01000400G1FA', end], 2],
    ['no colon', [good, good.slice(1), end], 2],
    ['a length that is not so', [':0500000001020304F1', end], 1],
    ['an unknown type', [good, record(6, 4, [1]), end], 2],
    ['a base of one byte', [record(4, 0, [0]), good, end], 1],
    ['an address said twice', [good, record(0, 3, [9]), end], 2],
    ['the same bytes twice', [good, good, end], 2],
    ['the end of a segment run over', [record(0, 0xfffe, [1, 2, 3]), end], 1],
    ['something after the end', [good, end, good], 2],
    ['an empty line within', [good, '', end], 2],
    ['no end record', [good, good.replace(':04', ':04')], 2],
    ['nothing', [''], 1],
  ];
  for (const [name, lines, line] of wrong) {
    t.throws(() => parse(lines, 262_144), { code: 'FLASH_IMAGE_INVALID', data: { line } }, name);
  }
});

t.test('a file that was cut has no end record', async (t) => {
  t.throws(() => parse([record(0, 0, [1])]), { code: 'FLASH_IMAGE_INVALID', data: { line: 1 } });
});

t.test('refuses what reaches beyond', async (t) => {
  const lines = [record(0, 0, [1]), record(0, 15, [1, 2]), end];
  t.throws(() => parse(lines, 16), { code: 'FLASH_IMAGE_TOO_LARGE', data: { line: 2 } });
  t.equal(parse(lines, 17).length, 17);
});
