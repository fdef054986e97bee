import fc from 'fast-check';
import t from 'tap';
import { canonicalJson, canonicalSha256 } from './canonical-json.js';

t.test('sorts members by code units at every level and leaves out undefined ones', async (t) => {
  const value = { b: [{ z: 1, a: null }], a: 'x', c: undefined, A: true };
  t.equal(canonicalJson(value), '{"A":true,"a":"x","b":[{"a":null,"z":1}]}');
});

t.test('gives the bytes of RFC 8785, appendix and section 3.2.3', async (t) => {
  const value = {
    '\u20ac': 'Euro Sign',
    '\r': 'Carriage Return',
    '\ufb33': 'Hebrew Letter Dalet With Dagesh',
    '1': 'One',
    '\ud83d\ude00': 'Emoji: Grinning Face',
    '\u0080': 'Control',
    '\u00f6': 'Latin Small Letter O With Diaeresis',
  };
  t.same(Object.values(JSON.parse(canonicalJson(value))), [
    // Integer-like names come first in a parsed object, whatever the text.
    'One',
    'Carriage Return',
    'Control',
    'Latin Small Letter O With Diaeresis',
    'Euro Sign',
    'Emoji: Grinning Face',
    'Hebrew Letter Dalet With Dagesh',
  ]);
  t.ok(canonicalJson(value).startsWith('{"\\r":"Carriage Return","1":"One",'));
  const numbers = [333333333.3333333, 1e30, 4.5, 2e-3, 1e-27, -0];
  t.equal(canonicalJson(numbers), '[333333333.3333333,1e+30,4.5,0.002,1e-27,0]');
  t.equal(canonicalJson('\u20ac$\u000f\nA\'B"\\"/'), '"€$\\u000f\\nA\'B\\"\\\\\\"/"');
});

t.test('one value has one hash, whatever the order of its members', async (t) => {
  t.equal(canonicalSha256({ a: 1, b: 2 }), canonicalSha256({ b: 2, a: 1 }));
  t.not(canonicalSha256({ a: 1, b: 2 }), canonicalSha256({ a: 1, b: 3 }));
});

t.test('refuses what JSON cannot hold instead of hashing something else', async (t) => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const cases = [
    Number.NaN,
    1n,
    () => 1,
    '\ud800',
    [undefined],
    new Date(),
    Buffer.from('x'),
    cycle,
  ];
  for (const value of cases) t.throws(() => canonicalJson(value), { code: 'REQUEST_INVALID' });
});

t.test('a member named __proto__ is a member', async (t) => {
  t.equal(canonicalJson(JSON.parse('{"__proto__":{"a":1}}')), '{"__proto__":{"a":1}}');
});

t.test('what stands in order already is written as what does not', async (t) => {
  const reversed = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) return value.map(reversed);
    return Object.fromEntries(
      Object.entries(value)
        .map(([key, member]) => [key, reversed(member)])
        .reverse(),
    );
  };
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value);
      t.equal(canonicalJson(JSON.parse(text)), text);
      t.equal(canonicalJson(reversed(value)), text);
    }),
  );
});
