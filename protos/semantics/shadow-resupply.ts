/**
 * What a replica that has everything tells one that has nothing: what is kept, and apart from it what is superseded, since what
 * superseded it may be collected: merged like the rest it would come back.
 */
import { compareTimes } from './hybrid-clock.js';
import {
  applyOperations,
  hasSeen,
  idOf,
  keyOf,
  type ShadowOperation,
  type ShadowState,
} from './shadow-merge.js';

export interface Everything {
  readonly operations: readonly ShadowOperation[];
  readonly lost: readonly ShadowOperation[];
}

/** The older first. */
export const everythingIn = ({ leaves, lost }: ShadowState): Everything => ({
  operations: [...leaves.values()].sort((a, b) => compareTimes(a.stamp, b.stamp)),
  lost: [...lost.values()].sort((a, b) => compareTimes(a.stamp, b.stamp)),
});

/** Whether two replicas hold the same operations, kept and superseded alike. */
export const isAllOf = ({ leaves, lost }: ShadowState, told: Everything): boolean => {
  const isKept = (operation: ShadowOperation): boolean => {
    const leaf = leaves.get(keyOf(operation.path));
    if (leaf === undefined || idOf(leaf) !== idOf(operation)) return false;
    return (leaf.value === undefined) === (operation.value === undefined);
  };
  return (
    told.operations.length === leaves.size &&
    told.operations.every(isKept) &&
    told.lost.length === lost.size &&
    told.lost.every((operation) => lost.has(idOf(operation)))
  );
};

/**
 * Takes up everything that a replica has which knew more than this one: what holds no value there any more holds none here either, also
 * where what superseded it is forgotten.
 */
export const takeEverything = (state: ShadowState, told: Everything): ShadowState => {
  const merged = applyOperations(state, told.operations);
  const leaves = new Map(merged.leaves);
  for (const { path, stamp, value } of told.operations) {
    const leaf = leaves.get(keyOf(path));
    if (value !== undefined || leaf?.value === undefined) continue;
    if (idOf(leaf) !== idOf({ path, stamp })) continue;
    const { value: _, ...superseded } = leaf;
    leaves.set(keyOf(path), superseded);
  }
  return takeLost({ leaves, lost: merged.lost }, told.lost);
};

/** Of operations that were merged, what another replica is to be told of them. */
export const whatIsLeftOf = (
  operations: readonly ShadowOperation[],
  { leaves, lost }: ShadowState,
): Everything => ({
  operations: operations.flatMap((operation) => {
    const leaf = leaves.get(keyOf(operation.path));
    return leaf !== undefined && idOf(leaf) === idOf(operation) ? [leaf] : [];
  }),
  lost: operations.flatMap((operation) => lost.get(idOf(operation)) ?? []),
});

/** Takes up what is superseded: as a conflict, unless it is known here or somebody here wrote over it knowingly. */
export const takeLost = (state: ShadowState, losers: readonly ShadowOperation[]): ShadowState => {
  const news = losers.filter((loser) => !state.lost.has(idOf(loser)) && !isHere(state, loser));
  if (news.length === 0) return state;
  const lost = new Map(state.lost);
  for (const loser of news) lost.set(idOf(loser), loser);
  return { leaves: state.leaves, lost };
};

/** One that is here without its value is superseded here too. */
const isHere = ({ leaves }: ShadowState, loser: ShadowOperation): boolean => {
  const leaf = leaves.get(keyOf(loser.path));
  if (leaf === undefined) return false;
  return idOf(leaf) === idOf(loser) ? leaf.value !== undefined : hasSeen(leaf, loser);
};
