import fc from 'fast-check';
import t from 'tap';
import { suffixArray } from './suffix-array.js';

// A busy machine takes its time.
t.setTimeout(180_000);

const plainly = (text: Uint8Array): number[] =>
  Array.from(text, (_, i) => i).sort((a, b) => Buffer.compare(text.subarray(a), text.subarray(b)));

t.test('sorts the suffixes of any text', async (t) => {
  const letters = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    // Few letters make many equal substrings, and so every level of the recursion.
    fc.uint8Array({ maxLength: 600, max: 1 }),
    fc.uint8Array({ maxLength: 600, max: 3 }),
  );
  fc.assert(
    fc.property(letters, (text) => {
      t.same([...suffixArray(text)], plainly(text));
    }),
    { numRuns: 500 },
  );
});

t.test('sorts what repeats itself', async (t) => {
  for (const period of ['a', 'ab', 'ba', 'abcab', 'mississippi']) {
    const text = Buffer.from(period.repeat(60));
    t.same([...suffixArray(text)], plainly(text));
  }
});
