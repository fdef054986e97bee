import * as fc from 'fast-check';
import t from 'tap';
import { compactOperations } from './compact-operations.js';
import { editsOf, renderShadow } from './shadow-document.js';
import {
  applyOperations,
  conflictsOf,
  emptyShadow,
  idOf,
  latestTime,
  mintOperations,
  type ShadowOperation,
  type ShadowState,
} from './shadow-merge.js';

const leaf = fc.oneof(
  fc.integer({ min: 0, max: 3 }),
  fc.constant(null),
  fc.record({ x: fc.integer({ min: 0, max: 3 }) }),
  fc.constant({ x: null, y: { z: 1 } }),
);
const patch = fc.dictionary(fc.constantFrom('a', 'b', 'c'), leaf, { minKeys: 1, maxKeys: 3 });
const action = fc.record({
  by: fc.constantFrom('cloud', 'site', 'the site’s arrives'),
  patch: fc.oneof(patch, fc.constant(null)),
});

const idsOf = (operations: Iterable<ShadowOperation>): string[] => [...operations].map(idOf).sort();
const openOf = (state: ShadowState): string[] =>
  idsOf(conflictsOf(state).map(({ loser }) => loser));

t.test('a site comes to the same by what is left as by all of it', async (t) => {
  let dropped = 0;
  fc.assert(
    fc.property(fc.array(action, { maxLength: 20 }), (actions) => {
      let cloud = emptyShadow;
      let site = emptyShadow;
      const waiting: ShadowOperation[] = [];
      const underWay: ShadowOperation[] = [];
      for (const [at, { by, patch }] of actions.entries()) {
        const state = by === 'cloud' ? cloud : site;
        if (by === 'the site’s arrives') {
          cloud = applyOperations(cloud, underWay.splice(0, 1));
          continue;
        }
        const minted = mintOperations(state, editsOf(state, { desired: patch }), {
          ...{ replica: by, writer: by },
          seen: latestTime([...state.leaves.values(), ...state.lost.values()]),
          clock: { now: 1_000 + at, trusted: true },
        });
        if (by === 'cloud') {
          cloud = applyOperations(cloud, minted);
          waiting.push(...minted);
        } else {
          site = applyOperations(site, minted);
          underWay.push(...minted);
        }
      }
      const compact = compactOperations(waiting);
      dropped += waiting.length - compact.length;
      const all = applyOperations(site, waiting);
      const few = applyOperations(site, compact);
      return (
        JSON.stringify(renderShadow(few)) === JSON.stringify(renderShadow(all)) &&
        idsOf(few.leaves.values()).join() === idsOf(all.leaves.values()).join() &&
        openOf(few).join() === openOf(all).join()
      );
    }),
    { numRuns: 500 },
  );
  t.ok(dropped > 100, `${dropped} were dropped`);
});

t.test('keeps each once, in the order of their stamps', async (t) => {
  const stamp = (wall: number, replica = 'cloud') => ({ wall, counter: 0, replica, writer: 'w' });
  const a = { path: ['desired', 'a'], value: 1, stamp: stamp(1) };
  const below = { path: ['desired', 'a', 'b'], value: 2, stamp: stamp(2) };
  const other = { path: ['desired', 'a', 'b'], value: 3, stamp: stamp(3, 'site') };
  const above = { path: ['desired'], stamp: stamp(4) };
  t.same(
    compactOperations([below, a, below, other]),
    [a, below, other],
    'nor is what is below covered',
  );
  t.same(
    compactOperations([above, a, below, other]),
    [other, above],
    'of another replica it may be news',
  );
});
