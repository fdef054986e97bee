import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import t from 'tap';
import { mergeState, stateDifference } from './state-difference.js';

t.test('the difference makes one state into the other', async (t) => {
  const states: readonly JsonObject[] = [
    {},
    { a: 1 },
    { a: { b: 1, c: [1, 2] }, d: 'x' },
    { a: { b: 2, c: [1] } },
    { a: 5, d: { e: { f: true } } },
    { constructor: 1, toString: { a: 2 } },
  ];
  for (const from of states) {
    for (const to of states) {
      const difference = stateDifference(from, to);
      t.equal(difference === null, JSON.stringify(from) === JSON.stringify(to));
      t.same(mergeState(from, difference ?? {}), to);
    }
  }
});

t.test('says nothing of what is the same', async (t) => {
  t.same(stateDifference({ a: { b: 1, c: 2 }, d: [1] }, { a: { b: 1, c: 3 }, d: [1] }), {
    a: { c: 3 },
  });
});
