/**
 * How a conflict ends: by a write at its place that knows both sides, whoever makes it. Nothing here is a rule of the merge;
 * an ordinary write there closes the conflict (law 3 of shadow-merge). Pure, for both ends.
 */
import { isEqual } from './shadow-document.js';
import {
  conflictsOf,
  hasSeen,
  idOf,
  keyOf,
  type ShadowConflict,
  type ShadowEdit,
  type ShadowOperation,
  type ShadowState,
} from './shadow-merge.js';

/** Which of the two is kept. */
export type ConflictKeep = 'winner' | 'loser';

/** What became of it: `other` where something else was written over both. */
export type ConflictKept = ConflictKeep | 'other';

export const isConflictKeep = (text: string): text is ConflictKeep =>
  text === 'winner' || text === 'loser';

/**
 * The write that settles a conflict: the kept value at its place again, or its deletion. Keeping the winner changes nothing
 * that is visible. In `reported` the control plane may only delete (the site refuses its values), so there it can't keep a
 * side that has one.
 */
export const settlementEdit = (
  { winner, loser }: Pick<ShadowConflict, 'winner' | 'loser'>,
  keep: ConflictKeep,
): ShadowEdit => {
  if (keep === 'loser') return editOf(loser);
  if (winner?.value !== undefined) return editOf(winner);
  // The lower of both places: a deletion above would take along what was written since.
  const isBelow = winner !== undefined && winner.path.length > loser.path.length;
  return { path: isBelow ? winner.path : loser.path };
};

/** Which side a conflict ended on, by what is visible in its place after. */
export const keptOf = (
  { winner, loser }: Pick<ShadowConflict, 'winner' | 'loser'>,
  after: ShadowState,
): ConflictKept => {
  const shows = ({ path, value }: ShadowOperation): boolean =>
    value === undefined ? isEmptyAt(after, path) : isEqual(visibleAt(after, path), value);
  const hasStayed = winner?.value === undefined ? isEmptyAt(after, loser.path) : shows(winner);
  if (hasStayed) return 'winner';
  return shows(loser) ? 'loser' : 'other';
};

export interface ConflictSettlement {
  readonly conflict: ShadowConflict;
  readonly kept: ConflictKept;
  /** The write that settled it: who, and when. */
  readonly by?: ShadowOperation;
}

/** The conflicts of `before` that are none any more after these operations. */
export const settledBetween = (
  before: ShadowState,
  after: ShadowState,
  operations: readonly ShadowOperation[],
): ConflictSettlement[] => {
  if (before.lost.size === 0) return [];
  const open = new Set(conflictsOf(after).map(({ loser }) => idOf(loser)));
  return conflictsOf(before)
    .filter(({ loser }) => !open.has(idOf(loser)))
    .map((conflict) => {
      const by = operations.findLast((operation) => hasSeen(operation, conflict.loser));
      return { conflict, kept: keptOf(conflict, after), ...(by === undefined ? {} : { by }) };
    });
};

const editOf = ({ path, value }: ShadowOperation): ShadowEdit =>
  value === undefined ? { path } : { path, value };

const visibleAt = ({ leaves }: ShadowState, path: ShadowOperation['path']) =>
  leaves.get(keyOf(path))?.value;

/** Whether nothing is visible at a path or below it. */
const isEmptyAt = ({ leaves }: ShadowState, path: ShadowOperation['path']): boolean => {
  for (const leaf of leaves.values()) {
    if (leaf.value !== undefined && path.every((key, at) => key === leaf.path[at])) return false;
  }
  return true;
};
