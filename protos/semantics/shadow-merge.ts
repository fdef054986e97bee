import type { JsonValue } from '../mqtt/json-payload.js';
import {
  type ClockReading,
  compareTimes,
  type HybridTime,
  laterOf,
  mintTime,
  zeroTime,
} from './hybrid-clock.js';
import { isAlong, PathIndex } from './path-index.js';
import { compareStamps, type ShadowStamp } from './shadow-stamp.js';

/**
 * The merge of a shadow, which the site and the control plane both run (DESIGN.md, "Shadow").
 *
 * A shadow is a set of operations, each the write or deletion of one leaf; arrays are one leaf. An operation supersedes
 * every older one at its path, above it and below it. What is visible is what nothing supersedes. Kept are the newest
 * operation at each path, less those that an operation above supersedes: whatever they would erase, that one erases too.
 * An operation superseded from below stays without its value, since it still erases its other descendants.
 *
 * Laws, of `applyOperations` for any operations in any order, each any number of times:
 * 1. The order and the repetitions make no difference to what is kept and visible (commutative, associative, idempotent).
 * 2. No stamp is altered. Time is bounded where a stamp is minted (hybrid-clock), never where it is merged.
 * 3. An operation is visible, or superseded by one whose writer had seen it, or a conflict (`conflictsOf`).
 * 4. Where operations arrive in causal order (each after those its writer had seen), the conflicts are those and no
 *    others, the same at every replica. Out of order there may be one more, never one fewer.
 *
 * What the callers owe: a replica mints in turn, each mint on the state the one before left; a replica whose memory was
 * lost mints under a new name. A deletion is collected only when every replica has acknowledged it and everything they
 * had sent before that has arrived (`collectDead` in forget-operations).
 *
 * How it is known what a writer had seen: an operation carries in `over` the newest write of each replica at each path it
 * overwrote, and all that these carried. Its own replica's it need not name: a replica has seen what it wrote itself.
 */
export interface ShadowOperation {
  /** `desired` or `reported`, then the keys. */
  readonly path: ShadowPath;
  /** Absent: the leaf was deleted. */
  readonly value?: JsonValue;
  readonly stamp: ShadowStamp;
  readonly over?: readonly ShadowWriteId[];
  /** The writer's clock wasn't to be believed: the stamp says after what it was written, not when. For people alone. */
  readonly trusted?: false;
}

export type ShadowPath = readonly string[];

/** Names one operation. */
export interface ShadowWriteId {
  readonly path: ShadowPath;
  readonly stamp: ShadowStamp;
}

export interface ShadowState {
  readonly leaves: ReadonlyMap<string, ShadowOperation>;
  /** Superseded by a write that had not seen them; `conflictsOf` says which of them nobody has seen since. */
  readonly lost: ReadonlyMap<string, ShadowOperation>;
}

export interface ShadowEdit {
  readonly path: ShadowPath;
  /** Absent: delete. */
  readonly value?: JsonValue;
}

export interface ShadowConflict {
  readonly path: ShadowPath;
  /** What stands in its place now; absent when that was a deletion, since collected. */
  readonly winner?: ShadowOperation;
  readonly loser: ShadowOperation;
}

export const emptyShadow: ShadowState = { leaves: new Map(), lost: new Map() };

/** Merges operations into a state. Returns the same state when they changed nothing. */
export const applyOperations = (
  state: ShadowState,
  operations: readonly ShadowOperation[],
): ShadowState => {
  const news = operations.filter((operation) => !holds(state, operation));
  if (news.length === 0) return state;
  const draft: Draft = {
    leaves: new Map(state.leaves),
    lost: new Map(state.lost),
    along: indexOf(state),
    isChanged: false,
  };
  for (const operation of news) apply(draft, operation);
  return draft.isChanged ? { leaves: draft.leaves, lost: draft.lost } : state;
};

/** Merges two replicas' states: for a replica with a new log, that takes its peer's. */
export const mergeShadows = (a: ShadowState, b: ShadowState): ShadowState =>
  applyOperations(a, [...b.leaves.values(), ...b.lost.values()]);

export interface MintContext {
  readonly replica: string;
  readonly writer: string;
  /** The highest time the replica has seen in any of its shadows. */
  readonly seen: HybridTime;
  /** The highest time this shadow ever held, of what was collected too: else a replica's own writes would not be in order. */
  readonly floor?: HybridTime;
  readonly clock: ClockReading;
  readonly maxDriftMs?: number;
}

/** Stamps the edits of one request, all with one stamp. They must not overlap. Apply the result to the same state. */
export const mintOperations = (
  state: ShadowState,
  edits: readonly ShadowEdit[],
  context: MintContext,
): ShadowOperation[] => {
  const index = indexOf(state);
  const overwritten = edits.map(({ path }) => keptAlong(index, path));
  const latest = laterOf(latestTime(overwritten.flat()), context.floor ?? zeroTime);
  const { wall, counter } = mintTime(
    { seen: context.seen, overwritten: latest },
    context.clock,
    context.maxDriftMs,
  );
  const stamp = { wall, counter, replica: context.replica, writer: context.writer };
  return edits.map((edit, index) => {
    const over = seenThrough(edit.path, overwritten[index] ?? [], context.replica);
    const doubt = context.clock.trusted ? {} : ({ trusted: false } as const);
    return { ...edit, stamp, ...(over.length === 0 ? {} : { over }), ...doubt };
  });
};

/** The operations that are visible: they have a value, and nothing supersedes them. */
export const visibleLeaves = (state: ShadowState): ShadowOperation[] =>
  [...state.leaves.values()].filter((leaf) => leaf.value !== undefined);

/** The conflicts that nobody has written over knowingly, each with what stands in the loser's place now. */
export const conflictsOf = (state: ShadowState): ShadowConflict[] => {
  if (state.lost.size === 0) return [];
  const index = indexOf(state);
  return [...state.lost.values()]
    .filter((loser) => !isKnown(index, loser))
    .map((loser) => {
      const winner = index.leaves
        .along(loser.path)
        .filter((leaf) => supersedes(leaf, loser))
        .sort((a, b) => (supersedes(a, b) ? -1 : 1))[0];
      return { path: loser.path, loser, ...(winner === undefined ? {} : { winner }) };
    });
};

/** The highest time in a state: what its replica has seen of it. */
export const latestTime = (operations: Iterable<ShadowWriteId>): HybridTime => {
  let latest = zeroTime;
  for (const { stamp } of operations) latest = laterOf(latest, stamp);
  return { wall: latest.wall, counter: latest.counter };
};

export const keyOf = (path: ShadowPath): string => JSON.stringify(path);

/** Names an operation in one text. */
export const idOf = ({ path, stamp }: ShadowWriteId): string =>
  JSON.stringify([path, stamp.wall, stamp.counter, stamp.writer, stamp.replica]);

interface Draft {
  readonly leaves: Map<string, ShadowOperation>;
  readonly lost: Map<string, ShadowOperation>;
  readonly along: StateIndex;
  isChanged: boolean;
}

/** What is kept, by its path: an operation costs what it meets, not what there is. */
interface StateIndex {
  readonly leaves: PathIndex<ShadowOperation>;
  readonly lost: PathIndex<ShadowOperation>;
}

const indexOf = ({ leaves, lost }: ShadowState): StateIndex => ({
  leaves: new PathIndex(leaves.values()),
  lost: new PathIndex(lost.values()),
});

const holds = ({ leaves }: ShadowState, { path, stamp }: ShadowOperation): boolean => {
  const same = leaves.get(keyOf(path));
  return same !== undefined && compareStamps(same.stamp, stamp) === 0;
};

const apply = (draft: Draft, operation: ShadowOperation): void => {
  if (holds(draft, operation)) return;
  const { leaves, lost, along } = draft;
  const related = along.leaves.along(operation.path);
  const newer = related.filter((leaf) => supersedes(leaf, operation));
  const older = related.filter((leaf) => !supersedes(leaf, operation));

  // Judged before anything goes, since what goes may be all that knows of another.
  const unseen = older.filter(
    (leaf) =>
      !hasSeen(operation, leaf) &&
      (isErased(leaf, operation) || (!lost.has(idOf(leaf)) && !isKnown(along, leaf))),
  );
  if (newer.length > 0 && !isKnown(along, operation)) unseen.push(operation);
  for (const loser of along.lost.along(operation.path)) {
    // What covers a loser and has seen it carries all that the loser knew; what is below it may not.
    if (!hasSeen(operation, loser) || !isErased(loser, operation)) continue;
    lost.delete(idOf(loser));
    along.lost.remove(loser);
    draft.isChanged = true;
  }
  for (const loser of unseen) {
    const id = idOf(loser);
    if (lost.has(id)) continue; // it may have its value still, which `loser` may not
    lost.set(id, loser);
    along.lost.add(loser);
    draft.isChanged = true;
  }

  if (newer.some((leaf) => isErased(operation, leaf))) return;
  const kept = older.filter((leaf) => !isErased(leaf, operation)).map(withoutValue);
  for (const leaf of older) {
    leaves.delete(keyOf(leaf.path));
    along.leaves.remove(leaf);
  }
  for (const leaf of [...kept, newer.length > 0 ? withoutValue(operation) : operation]) {
    leaves.set(keyOf(leaf.path), leaf);
    along.leaves.add(leaf);
  }
  draft.isChanged = true;
};

/** The `over` of a write at a path: of each replica at each path, the newest that it overwrites. */
const seenThrough = (
  path: ShadowPath,
  overwritten: readonly ShadowOperation[],
  ownReplica: string,
): ShadowWriteId[] => {
  const newest = new Map<string, ShadowWriteId>();
  const add = ({ path: at, stamp }: ShadowWriteId): void => {
    if (stamp.replica === ownReplica || !isAlong(at, path)) return;
    const key = `${stamp.replica} ${keyOf(at)}`;
    const known = newest.get(key);
    if (known === undefined || compareTimes(known.stamp, stamp) < 0) {
      newest.set(key, { path: at, stamp });
    }
  };
  for (const operation of overwritten) {
    add(operation);
    operation.over?.forEach(add);
  }
  return [...newest.values()];
};

/** Whether nothing of a related operation is left under one that supersedes it: that is at its path or above it. */
const isErased = (loser: ShadowOperation, by: ShadowOperation): boolean =>
  by.path.length <= loser.path.length;

/** Whether any operation that is kept was written by someone who had seen this one. */
const isKnown = (index: StateIndex, operation: ShadowOperation): boolean =>
  keptAlong(index, operation.path).some((other) => hasSeen(other, operation));

const keptAlong = ({ leaves, lost }: StateIndex, path: ShadowPath): ShadowOperation[] =>
  lost.size === 0 ? leaves.along(path) : [...leaves.along(path), ...lost.along(path)];

/** Whether the later of two writes is of somebody who knew the earlier: a replica has seen whatever it wrote there itself. */
export const hasSeen = (later: ShadowOperation, earlier: ShadowOperation): boolean =>
  isAlong(later.path, earlier.path) &&
  compareTimes(earlier.stamp, later.stamp) < 0 &&
  (later.stamp.replica === earlier.stamp.replica ||
    (later.over?.some(
      (seen) =>
        compareTimes(earlier.stamp, seen.stamp) <= 0 &&
        seen.stamp.replica === earlier.stamp.replica &&
        isAlong(seen.path, earlier.path),
    ) ??
      false));

/** A total order: two replicas may mint one time; one stamp at two paths of one line is nobody's to mint, but decided. */
const supersedes = (a: ShadowOperation, b: ShadowOperation): boolean =>
  (compareStamps(a.stamp, b.stamp) || b.path.length - a.path.length) > 0;

const withoutValue = ({ value: _value, ...rest }: ShadowOperation): ShadowOperation => rest;
