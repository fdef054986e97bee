import type { JsonValue } from '../mqtt/json-payload.js';
import {
  type ClockReading,
  compareTimes,
  type HybridTime,
  laterOf,
  mintTime,
  zeroTime,
} from './hybrid-clock.js';

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
 * had sent before that has arrived (`collectDead`).
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

export interface ShadowStamp extends HybridTime {
  /** The log whose replica minted it (first 8 hexadecimal digits suffice): a rebuilt replica is another one. */
  readonly replica: string;
  /** `device:<id>`, `cloud` or `site:<person>`. */
  readonly writer: string;
}

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
  const draft: Draft = {
    leaves: new Map(state.leaves),
    lost: new Map(state.lost),
    isChanged: false,
  };
  for (const operation of operations) apply(draft, operation);
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
  readonly clock: ClockReading;
  readonly maxDriftMs?: number;
}

/** Stamps the edits of one request, all with one stamp. They must not overlap. Apply the result to the same state. */
export const mintOperations = (
  state: ShadowState,
  edits: readonly ShadowEdit[],
  context: MintContext,
): ShadowOperation[] => {
  const overwritten = edits.map((edit) => relatedTo(edit.path, state));
  const latest = overwritten.flat().reduce((at, { stamp }) => laterOf(at, stamp), zeroTime);
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

/** What other replicas minted and has no value now: to be asked after every change, collected and told to them. */
export const deadFromOthers = (state: ShadowState, replica: string): ShadowWriteId[] =>
  [...state.leaves.values()]
    .filter((leaf) => leaf.value === undefined && leaf.stamp.replica !== replica)
    .map(({ path, stamp }) => ({ path, stamp }));

/**
 * Forgets operations without a value once every replica has acknowledged them and what was under way before that has
 * arrived. Between two replicas with in-order lanes: the one that did not mint them may forget them at once, and says so
 * with the operations it sends (`deadFromOthers`); the other does when it has merged those.
 */
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
  return leaves.size === state.leaves.size ? state : { leaves, lost: state.lost };
};

/** The conflicts that nobody has written over knowingly, each with what stands in the loser's place now. */
export const conflictsOf = (state: ShadowState): ShadowConflict[] =>
  [...state.lost.values()]
    .filter((loser) => !isKnown(state, loser))
    .map((loser) => {
      const winner = [...state.leaves.values()]
        .filter((leaf) => isRelated(leaf.path, loser.path) && supersedes(leaf, loser))
        .sort((a, b) => (supersedes(a, b) ? -1 : 1))[0];
      return { path: loser.path, loser, ...(winner === undefined ? {} : { winner }) };
    });

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
  isChanged: boolean;
}

const apply = (draft: Draft, operation: ShadowOperation): void => {
  const { leaves, lost } = draft;
  const key = keyOf(operation.path);
  const same = leaves.get(key);
  if (same !== undefined && compareStamps(same.stamp, operation.stamp) === 0) return;
  const related = [...leaves.values()].filter((leaf) => isRelated(leaf.path, operation.path));
  const newer = related.filter((leaf) => supersedes(leaf, operation));
  const older = related.filter((leaf) => !newer.includes(leaf));

  // Judged before anything goes, since what goes may be all that knows of another.
  const unseen = older.filter(
    (leaf) => !hasSeen(operation, leaf) && (isErased(leaf, operation) || !isKnown(draft, leaf)),
  );
  if (newer.length > 0 && !isKnown(draft, operation)) unseen.push(operation);
  for (const [id, loser] of lost) {
    // What covers a loser and has seen it carries all that the loser knew; what is below it may not.
    if (!hasSeen(operation, loser) || !isErased(loser, operation)) continue;
    lost.delete(id);
    draft.isChanged = true;
  }
  for (const loser of unseen) {
    const id = idOf(loser);
    if (lost.has(id)) continue; // it may have its value still, which `loser` may not
    lost.set(id, loser);
    draft.isChanged = true;
  }

  if (newer.some((leaf) => isErased(operation, leaf))) return;
  for (const leaf of older) {
    if (isErased(leaf, operation)) leaves.delete(keyOf(leaf.path));
    else leaves.set(keyOf(leaf.path), withoutValue(leaf));
  }
  leaves.set(key, newer.length > 0 ? withoutValue(operation) : operation);
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
    if (stamp.replica === ownReplica || !isRelated(at, path)) return;
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

const relatedTo = (path: ShadowPath, state: ShadowState): ShadowOperation[] =>
  [...state.leaves.values(), ...state.lost.values()].filter((operation) =>
    isRelated(operation.path, path),
  );

/** Whether nothing of a related operation is left under one that supersedes it: that is at its path or above it. */
const isErased = (loser: ShadowOperation, by: ShadowOperation): boolean =>
  by.path.length <= loser.path.length;

/** Whether any operation that is kept was written by someone who had seen this one. */
const isKnown = (draft: ShadowState, operation: ShadowOperation): boolean => {
  for (const leaf of draft.leaves.values()) if (hasSeen(leaf, operation)) return true;
  for (const loser of draft.lost.values()) if (hasSeen(loser, operation)) return true;
  return false;
};

/** Whether the later of two writes is of somebody who knew the earlier: a replica has seen whatever it wrote there itself. */
export const hasSeen = (later: ShadowOperation, earlier: ShadowOperation): boolean =>
  isRelated(later.path, earlier.path) &&
  compareTimes(earlier.stamp, later.stamp) < 0 &&
  (later.stamp.replica === earlier.stamp.replica ||
    (later.over?.some(
      (seen) =>
        seen.stamp.replica === earlier.stamp.replica &&
        isRelated(seen.path, earlier.path) &&
        compareTimes(earlier.stamp, seen.stamp) <= 0,
    ) ??
      false));

/** Whether one path is the other, above it or below it. */
const isRelated = (a: ShadowPath, b: ShadowPath): boolean => {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) if (a[at] !== b[at]) return false;
  return true;
};

/** A total order: two replicas may mint one time; one stamp at two paths of one line is nobody's to mint, but decided. */
const supersedes = (a: ShadowOperation, b: ShadowOperation): boolean =>
  (compareStamps(a.stamp, b.stamp) || b.path.length - a.path.length) > 0;

const compareStamps = (a: ShadowStamp, b: ShadowStamp): number =>
  compareTimes(a, b) || compareTexts(a.writer, b.writer) || compareTexts(a.replica, b.replica);

const compareTexts = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

const withoutValue = ({ value: _value, ...rest }: ShadowOperation): ShadowOperation => rest;
