/**
 * What a replica of a shadow may forget: deletions that everybody has, and losers of conflicts that are over or too old. Nothing that is
 * visible depends on either, so replicas that forget at different times still agree; and forgetting opens no conflict again. Pure.
 */
import { compareTimes } from './hybrid-clock.js';
import { conflictsOf, idOf, keyOf, type ShadowState, type ShadowWriteId } from './shadow-merge.js';
import { compareStamps } from './shadow-stamp.js';

/** What other replicas minted and has no value now. */
export const deadFromOthers = (state: ShadowState, replica: string): ShadowWriteId[] =>
  [...state.leaves.values()]
    .filter((leaf) => leaf.value === undefined && leaf.stamp.replica !== replica)
    .map(({ path, stamp }) => ({ path, stamp }));

/** Forgets operations without a value, which every replica has acknowledged (shadow-collection says when that is). */
export const collectDead = (
  state: ShadowState,
  acknowledged: readonly ShadowWriteId[],
): ShadowState => {
  const leaves = new Map(state.leaves);
  for (const { path, stamp } of acknowledged) {
    const leaf = leaves.get(keyOf(path));
    if (leaf?.value === undefined && leaf && compareStamps(leaf.stamp, stamp) === 0) {
      leaves.delete(keyOf(path));
    }
  }
  if (leaves.size === state.leaves.size) return state;
  return { leaves, lost: stillOver(state, { leaves, lost: state.lost }) };
};

/** A state without these losers (`idOf`). */
export const forgetLost = (state: ShadowState, losers: ReadonlySet<string>): ShadowState => {
  const lost = without(state.lost, losers);
  if (lost.size === state.lost.size) return state;
  return { leaves: state.leaves, lost: stillOver(state, { leaves: state.leaves, lost }) };
};

/** The oldest losers go where there are too many; those whose conflicts are over first. */
export const withinLosers = (
  state: ShadowState,
  maxLosers: number,
): { readonly state: ShadowState; readonly dropped: ReadonlySet<string> } => {
  const excess = state.lost.size - maxLosers;
  if (excess <= 0) return { state, dropped: new Set() };
  const open = new Set(conflictsOf(state).map(({ loser }) => idOf(loser)));
  const oldest = [...state.lost.entries()]
    .sort(([, a], [, b]) => compareTimes(a.stamp, b.stamp))
    .map(([id]) => id);
  const losers = [...oldest.filter((id) => !open.has(id)), ...oldest.filter((id) => open.has(id))];
  const going = losers.slice(0, excess);
  return {
    state: forgetLost(state, new Set(going)),
    dropped: new Set(going.filter((id) => open.has(id))),
  };
};

/** What is lost after something was forgotten: less the losers whose conflicts only what is forgotten knew to be over. */
const stillOver = (before: ShadowState, after: ShadowState): ShadowState['lost'] => {
  if (after.lost.size === 0) return after.lost;
  const open = idsOf(before);
  let { lost } = after;
  for (;;) {
    const again = [...idsOf({ leaves: after.leaves, lost })].filter((id) => !open.has(id));
    if (again.length === 0) return lost;
    lost = without(lost, new Set(again));
  }
};

const idsOf = (state: ShadowState): ReadonlySet<string> =>
  new Set(conflictsOf(state).map(({ loser }) => idOf(loser)));

const without = (lost: ShadowState['lost'], losers: ReadonlySet<string>): ShadowState['lost'] =>
  new Map([...lost].filter(([id]) => !losers.has(id)));
