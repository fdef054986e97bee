import t from 'tap';
import { collectDead } from './forget-operations.js';
import { zeroTime } from './hybrid-clock.js';
import { editsOf, type ShadowPatch } from './shadow-document.js';
import { changesBelow, changesBetween, foldChanges } from './shadow-history.js';
import { applyOperations, emptyShadow, mintOperations, type ShadowState } from './shadow-merge.js';

const write = (
  state: ShadowState,
  writer: string,
  now: number,
  patch: ShadowPatch,
  trusted = true,
) =>
  mintOperations(state, editsOf(state, patch), {
    replica: writer.split(':')[0] ?? '',
    writer,
    seen: zeroTime,
    clock: { now, trusted },
  });

t.test('says of a commit who changed what from what to what', async (t) => {
  const first = write(emptyShadow, 'cloud:ann', 1_000, { desired: { mode: 'a', net: { ip: 1 } } });
  const before = applyOperations(emptyShadow, first);
  t.same(changesBetween(emptyShadow, before, first), [
    {
      ...{ writer: 'cloud:ann', writtenAt: 1_000, trusted: true },
      changes: [
        { path: ['desired', 'mode'], after: 'a' },
        { path: ['desired', 'net', 'ip'], after: 1 },
      ],
    },
  ]);
  // A site was away: the device and a person come in one batch, out of order.
  const desired = write(before, 'site:bob', 3_000, { desired: { net: 7, mode: 'a' } }, false);
  const reported = write(before, 'device:d', 2_000, { reported: { mode: 'b' } });
  const both = [...desired, ...reported];
  t.same(changesBetween(before, applyOperations(before, both), both), [
    // Its clock is not believed, so its time is that of what it knew.
    {
      ...{ writer: 'site:bob', writtenAt: 1_000, trusted: false },
      // What was written again as it was is no change; what stood below is gone by the same write.
      changes: [
        { path: ['desired', 'net'], after: 7 },
        { path: ['desired', 'net', 'ip'], before: 1 },
      ],
    },
    {
      ...{ writer: 'device:d', writtenAt: 2_000, trusted: true },
      changes: [{ path: ['reported', 'mode'], after: 'b' }],
    },
  ]);
});

t.test('names who deleted, though the deletion itself is forgotten at once', async (t) => {
  const before = applyOperations(
    emptyShadow,
    write(emptyShadow, 'cloud:ann', 1_000, { desired: { a: 1, b: [1] } }),
  );
  const deletion = write(before, 'site:bob', 2_000, { desired: null });
  const after = collectDead(applyOperations(before, deletion), deletion);
  t.equal(after.leaves.size, 0);
  t.match(changesBetween(before, after, deletion), [
    { writer: 'site:bob', changes: [{ path: ['desired', 'a'], before: 1 }, { before: [1] }] },
  ]);
  t.same(changesBetween(after, after, deletion), []);
});

t.test('a write that lost changes nothing', async (t) => {
  const newer = write(emptyShadow, 'cloud:ann', 9_000, { desired: { a: 1 } });
  const older = write(emptyShadow, 'site:bob', 2_000, { desired: { a: 2 } });
  const before = applyOperations(emptyShadow, newer);
  t.same(changesBetween(before, applyOperations(before, older), older), []);
});

t.test('what changes come to in the end', async (t) => {
  const path = ['desired', 'a'];
  const folded = foldChanges([
    { path, after: 1 },
    { path: ['desired', 'b'], before: { x: [1] }, after: 2 },
    { path: ['desired', 'c'], before: 5 },
    { path, before: 1, after: 2 },
    { path: ['desired', 'b'], before: 2, after: { x: [1] } },
  ]);
  t.same(folded, [
    { path, after: 2 },
    { path: ['desired', 'c'], before: 5 },
  ]);
  t.same(changesBelow(['desired', 'c'], folded), [{ path: ['desired', 'c'], before: 5 }]);
  t.same(changesBelow(['desired'], folded), folded);
  t.same(changesBelow(['desired', 'c', 'd'], folded), []);
});
