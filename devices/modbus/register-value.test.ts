import t from 'tap';
import * as v from 'valibot';
import { planBlocks, splitBlock } from './read-block.js';
import { type RegisterMapInput, readMap, registerMapSchema } from './register-map.js';
import { decode, encode } from './register-value.js';

type Entry = Partial<RegisterMapInput['registers'][number]>;

const mapOf = (...registers: Entry[]) =>
  readMap(
    v.parse(registerMapSchema, {
      name: 'm',
      model: 'M',
      registers: registers.map((entry, index) => ({
        name: `r${index}`,
        kind: 'holding',
        address: index * 10,
        ...entry,
      })),
    }),
  );

const registerOf = (entry: Entry) => {
  const [register] = mapOf(entry).registers;
  if (register === undefined) throw new Error('no register');
  return register;
};

const read = (entry: Entry, hex: string) => decode(registerOf(entry), Buffer.from(hex, 'hex'));

t.test('reads numbers in every order of bytes', async (t) => {
  // 230.5 in single precision is 43 66 80 00.
  const float = { type: 'float32' } as const;
  for (const [byteOrder, hex] of [
    ['ABCD', '43668000'],
    ['big', '43668000'],
    ['CDAB', '80004366'],
    ['word-swapped', '80004366'],
    ['BADC', '66430080'],
    ['byte-swapped', '66430080'],
    ['DCBA', '00806643'],
    ['little', '00806643'],
  ] as const) {
    t.same(read({ ...float, byteOrder }, hex), { ok: true, value: 230.5 }, byteOrder);
  }
  t.same(read({ type: 'uint16', byteOrder: 'BADC' }, '0102'), { ok: true, value: 0x0201 });
  t.same(read({ type: 'uint64', byteOrder: 'CDAB' }, '0004000300020001'), {
    ok: true,
    value: 0x0001_0002_0003_0004,
  });
  t.same(read({ type: 'float64', byteOrder: 'DCBA' }, '0000000000000040'), {
    ok: true,
    value: 2,
  });
});

t.test('reads each type', async (t) => {
  t.same(read({ type: 'int16' }, 'fffe'), { ok: true, value: -2 });
  t.same(read({}, 'fffe'), { ok: true, value: 65_534 });
  t.same(read({ type: 'int32' }, 'fffffffe'), { ok: true, value: -2 });
  t.same(read({ type: 'uint32' }, 'fffffffe'), { ok: true, value: 4_294_967_294 });
  t.same(read({ type: 'bit', bit: 3 }, '0008'), { ok: true, value: true });
  t.same(read({ type: 'bit', bit: 2 }, '0008'), { ok: true, value: false });
  t.same(read({ type: 'bool' }, '0000'), { ok: true, value: false });
  t.same(read({ kind: 'coil' }, '01'), { ok: true, value: true });
  t.same(read({ type: 'string', registers: 3 }, '5344 4d31 2000'.replaceAll(' ', '')), {
    ok: true,
    value: 'SDM1',
  });
  t.same(read({ type: 'string', registers: 2, byteOrder: 'BADC' }, '44530031'), {
    ok: true,
    value: 'SD1',
  });
});

t.test('scales without the dust of binary fractions', async (t) => {
  t.same(read({ scale: 0.1 }, '08fd'), { ok: true, value: 230.1 });
  t.same(read({ type: 'int16', scale: 0.1, offset: -40 }, '0190'), { ok: true, value: 0 });
  t.same(read({ type: 'float32' }, '4366199a'), { ok: true, value: 230.1 });
});

t.test('tells numbers that a double does not hold as text, both ways', async (t) => {
  const long = { type: 'uint64', writable: true } as const;
  t.same(read(long, 'ffffffffffffffff'), { ok: true, value: '18446744073709551615' });
  t.same(read(long, '001fffffffffffff'), { ok: true, value: Number.MAX_SAFE_INTEGER });
  t.same(read({ type: 'int64' }, '8000000000000000'), { ok: true, value: '-9223372036854775808' });
  const encoded = encode(registerOf(long), '18446744073709551615');
  t.equal(encoded.ok && encoded.bytes.toString('hex'), 'ffffffffffffffff');
  t.notOk(encode(registerOf(long), '18446744073709551616').ok);
});

t.test('never takes for a value what is none', async (t) => {
  t.match(read({ type: 'float32' }, '7fc00000'), { ok: false, reason: 'it is not a number' });
  t.match(read({ type: 'float32' }, 'ff800000'), { ok: false, reason: 'it is infinite' });
  t.match(read({ notAvailable: [65_535] }, 'ffff'), { ok: false, reason: /no value/ });
  t.match(read({ type: 'string', registers: 1 }, '0102'), { ok: false });
});

t.test('writes what reads the same again, and refuses the rest with a reason', async (t) => {
  const setpoint = registerOf({
    type: 'int16',
    scale: 0.5,
    unit: '°C',
    writable: true,
    minimum: 5,
    maximum: 30,
  });
  const encoded = encode(setpoint, 21.5);
  t.equal(encoded.ok && encoded.bytes.toString('hex'), '002b');
  for (const [value, reason] of [
    [21.3, /can't hold 21.3, but 21.5/],
    [31, /31 is out of range: 5 to 30 °C/],
    ['21', /is no number/],
    [null, /is no number/],
    [{}, /is no number/],
  ] as const) {
    t.match(encode(setpoint, value), { ok: false, reason }, JSON.stringify(value));
  }
  t.match(encode(registerOf({ writable: true }), 65_536), { ok: false, reason: /does not fit/ });
  t.match(encode(registerOf({ writable: true }), -1), { ok: false, reason: /does not fit/ });
  t.match(encode(registerOf({ writable: true, scale: 1e-300 }), 1e300), { ok: false });
  t.match(encode(registerOf({ type: 'bool', writable: true }), 1), { ok: false });
  t.match(encode(registerOf({ type: 'string', registers: 1, writable: true }), 'abc'), {
    ok: false,
    reason: /longer than 2/,
  });
});

t.test('keeps the other bits of a register', async (t) => {
  const bit = registerOf({ type: 'bit', bit: 1, writable: true });
  const on = encode(bit, true, Buffer.from('00f0', 'hex'));
  t.equal(on.ok && on.bytes.toString('hex'), '00f2');
  const off = encode(bit, false, Buffer.from('ffff', 'hex'));
  t.equal(off.ok && off.bytes.toString('hex'), 'fffd');
});

t.test('every value comes back as it was written, whatever the type and the order', async (t) => {
  const values = {
    int16: [-32_768, -1, 0, 32_767],
    uint16: [0, 65_535],
    int32: [-2_147_483_648, 7],
    uint32: [4_294_967_295],
    int64: [-1, Number.MIN_SAFE_INTEGER, '-9223372036854775808'],
    uint64: [0, '9007199254740993'],
    float32: [0, -1.5, 230.1, 1e20],
    float64: [Math.PI, -1e-300],
  } as const;
  for (const byteOrder of ['ABCD', 'CDAB', 'BADC', 'DCBA'] as const) {
    for (const [type, some] of Object.entries(values)) {
      const register = registerOf({
        type: type as keyof typeof values,
        byteOrder,
        writable: true,
      });
      for (const value of some) {
        const encoded = encode(register, value);
        t.ok(encoded.ok, `${type} ${value}`);
        if (encoded.ok) t.same(decode(register, encoded.bytes), { ok: true, value });
      }
    }
  }
});

t.test('says what is wrong with a map', async (t) => {
  const wrong = (entry: object): string => {
    const registers = [{ name: 'a', kind: 'holding', address: 0, ...entry }];
    const result = v.safeParse(registerMapSchema, { name: 'm', model: 'M', registers });
    return result.issues?.[0]?.message ?? '';
  };
  t.match(wrong({ kind: 'input', writable: true }), /nothing can be written to an input register/);
  t.match(wrong({ kind: 'coil', type: 'int16' }), /a coil is a bool/);
  t.match(wrong({ type: 'bit' }), /type bit and bit go together/);
  t.match(wrong({ type: 'string' }), /type string and registers go together/);
  t.match(wrong({ address: 65_535, type: 'int32' }), /beyond address 65535/);
  t.match(wrong({ minimum: 1 }), /writable/);
  t.match(wrong({ byteOrder: 'ACBD' }), /must be one of ABCD/);
  t.match(wrong({ name: 'modbus_refused' }), /gateway itself/);
  t.match(wrong({ scale: 0 }), /must not be 0/);
  t.match(wrong({ telemetry: false }), /neither telemetry nor reported/);
  t.equal(wrong({}), '');
});

t.test('reads neighbours in one request, over gaps as wide as the map allows', async (t) => {
  const map = mapOf(
    { address: 0, type: 'float32' },
    { address: 2, type: 'float32' },
    { address: 10 },
    { address: 20 },
    { address: 21, pollS: 60 },
    { address: 0, kind: 'input' },
  );
  const blocks = planBlocks(map).map(({ kind, address, count }) => [kind, address, count]);
  t.same(blocks, [
    ['holding', 0, 11],
    ['holding', 20, 1],
    ['holding', 21, 1],
    ['input', 0, 1],
  ]);
});

t.test('asks for less where a block is refused: without gaps, then one by one', async (t) => {
  const map = mapOf({ address: 0 }, { address: 1 }, { address: 5 });
  const [block] = planBlocks(map);
  if (block === undefined) throw new Error('no block');
  const parts = splitBlock(block);
  t.same(
    parts?.map(({ address, count }) => [address, count]),
    [
      [0, 2],
      [5, 1],
    ],
  );
  const [first, second] = parts ?? [];
  if (first === undefined || second === undefined) throw new Error('no parts');
  t.equal(splitBlock(first)?.length, 2);
  t.equal(splitBlock(second), null);
});
