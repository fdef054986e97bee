import fc from 'fast-check';
import t from 'tap';
import { settlementEdit } from './conflict-settlement.js';
import { collectDead, deadFromOthers, forgetLost } from './forget-operations.js';
import { zeroTime } from './hybrid-clock.js';
import {
  applyOperations,
  conflictsOf,
  emptyShadow,
  idOf,
  mintOperations,
  type ShadowEdit,
  type ShadowOperation,
  type ShadowState,
} from './shadow-merge.js';

const write = (state: ShadowState, replica: string, now: number, ...edits: ShadowEdit[]) =>
  mintOperations(state, edits, {
    replica,
    writer: replica,
    seen: zeroTime,
    clock: { now, trusted: true },
  });

const at = (path: string, value?: number): ShadowEdit => ({
  path: path.split('.'),
  ...(value === undefined ? {} : { value }),
});

t.test('a conflict that a deletion ended stays over when the deletion is forgotten', async (t) => {
  const start = applyOperations(
    emptyShadow,
    write(emptyShadow, 'site', 1_000, at('desired.a.x', 0)),
  );
  const met = applyOperations(start, [
    ...write(start, 'cloud', 2_000, at('desired.a', 1)),
    ...write(start, 'site', 3_000, at('desired.a.x')),
  ]);
  const [conflict] = conflictsOf(met);
  if (conflict === undefined) throw new Error('no conflict');
  const state = applyOperations(met, write(met, 'site', 4_000, settlementEdit(conflict, 'winner')));
  t.same(conflictsOf(state), []);
  for (const end of ['site', 'cloud']) {
    t.same(conflictsOf(collectDead(state, deadFromOthers(state, end))), [], `at ${end}`);
  }
});

t.test('forgetting losers changes nothing visible and opens nothing again', async () => {
  const paths = ['desired', 'desired.a', 'desired.a.x', 'desired.a.y', 'desired.b'];
  const step = fc.record({
    replica: fc.constantFrom('cloud', 'site', 'third'),
    path: fc.constantFrom(...paths),
    deletes: fc.boolean(),
    /** How much of what was written before its replica knows. */
    knows: fc.nat(10),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.array(fc.boolean()), (steps, picks) => {
      const all: ShadowOperation[] = [];
      for (const [now, next] of steps.entries()) {
        const known = all.filter(
          ({ stamp }, index) => index < next.knows || stamp.replica === next.replica,
        );
        const edit = at(next.path, next.deletes || next.path === 'desired' ? undefined : now);
        all.push(...write(applyOperations(emptyShadow, known), next.replica, 1_000 + now, edit));
      }
      const state = applyOperations(emptyShadow, all);
      const losers = [...state.lost.keys()].filter((_, index) => picks[index] ?? false);
      const after = forgetLost(state, new Set(losers));
      const openOf = (shadow: ShadowState) => conflictsOf(shadow).map(({ loser }) => idOf(loser));
      const was = openOf(state).filter((id) => !losers.includes(id));
      if (JSON.stringify(openOf(after)) !== JSON.stringify(was)) throw new Error('other conflicts');
      if (after.leaves !== state.leaves) throw new Error('other leaves');
    }),
    { numRuns: 500 },
  );
});
