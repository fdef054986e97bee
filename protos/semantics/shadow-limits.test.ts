import t from 'tap';
import { zeroTime } from './hybrid-clock.js';
import { editsOf, type ShadowPatch } from './shadow-document.js';
import { defaultShadowLimits, faultOfEdits, faultOfGrowth } from './shadow-limits.js';
import { applyOperations, emptyShadow, mintOperations, type ShadowState } from './shadow-merge.js';

const write = (state: ShadowState, patch: ShadowPatch): ShadowState =>
  applyOperations(
    state,
    mintOperations(state, editsOf(state, patch), {
      ...{ replica: 'site', writer: 'device:d', seen: zeroTime },
      clock: { now: 1, trusted: true },
    }),
  );

const limits = { ...defaultShadowLimits, maxDocumentBytes: 100, maxLeaves: 3 };

t.test('bounds what a write makes of a shadow, and lets a full one be emptied', async (t) => {
  const large = write(emptyShadow, { reported: { a: 'x'.repeat(200), b: 1, c: 1, d: 1 } });
  t.match(faultOfGrowth(emptyShadow, large, limits), '100 are allowed');
  t.equal(faultOfGrowth(emptyShadow, large, defaultShadowLimits), undefined);
  const smaller = write(large, { reported: { a: 'x'.repeat(150) } });
  t.equal(faultOfGrowth(large, smaller, limits), undefined, 'still too large, and yet smaller');
  const emptied = write(large, { reported: { a: null } });
  t.equal(faultOfGrowth(large, emptied, limits), undefined);
  const more = write(emptied, { reported: { e: 1 } });
  t.match(faultOfGrowth(emptied, more, limits), 'more than 3 leaves');
  t.equal(faultOfEdits(3, limits), undefined);
  t.match(faultOfEdits(4, limits), 'more than 3 leaves');
});
