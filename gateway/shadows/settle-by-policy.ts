/** What the plan's rules make of conflicts that came up in a merge: the preferred side is written again, knowing both. Pure. */
import {
  type ConflictRule,
  policyWriter,
  sideOf,
  winnerOf,
} from '@holdfast/protos/semantics/conflict-policy';
import { type ConflictKeep, settlementEdit } from '@holdfast/protos/semantics/conflict-settlement';
import type { ClockReading, HybridTime } from '@holdfast/protos/semantics/hybrid-clock';
import { isAlong } from '@holdfast/protos/semantics/path-index';
import {
  applyOperations,
  conflictsOf,
  idOf,
  mintOperations,
  type ShadowConflict,
  type ShadowEdit,
  type ShadowOperation,
  type ShadowState,
} from '@holdfast/protos/semantics/shadow-merge';

export interface PolicyContext {
  readonly rules: readonly ConflictRule[];
  /** The name that rules know the shadow by. */
  readonly shadow: string;
  readonly replica: string;
  readonly seen: HybridTime;
  /** The highest time that the shadow ever held. */
  readonly floor: HybridTime;
  readonly clock: ClockReading;
}

export interface SettledByPolicy {
  readonly state: ShadowState;
  /** What was written for it. */
  readonly operations: readonly ShadowOperation[];
}

/** Settles the conflicts of `merged` that were none in `before` and that a rule decides. Those there were are people's to settle. */
export const settleByPolicy = (
  before: ShadowState,
  merged: ShadowState,
  context: PolicyContext,
): SettledByPolicy => {
  const nothing = { state: merged, operations: [] };
  if (context.rules.length === 0 || merged.lost.size === 0) return nothing;
  const known = new Set(conflictsOf(before).map(({ loser }) => idOf(loser)));
  const operations: ShadowOperation[] = [];
  let state = merged;
  // Writes of one turn must not overlap; each turn settles at least one.
  for (;;) {
    const edits: ShadowEdit[] = [];
    for (const conflict of conflictsOf(state)) {
      if (known.has(idOf(conflict.loser))) continue;
      const keep = keepOf(conflict, context);
      if (keep === undefined) continue;
      const edit = settlementEdit(conflict, keep);
      if (!edits.some(({ path }) => isAlong(path, edit.path))) edits.push(edit);
    }
    if (edits.length === 0) return { state, operations };
    const minted = mintOperations(state, edits, { ...context, writer: policyWriter });
    operations.push(...minted);
    state = applyOperations(state, minted);
  }
};

/** Which side a rule prefers; undefined where none does, and where both or neither are of the side it names. */
const keepOf = (
  { path, winner, loser }: ShadowConflict,
  { rules, shadow }: PolicyContext,
): ConflictKeep | undefined => {
  const preferred = winnerOf(rules, shadow, path);
  if (preferred === 'latest' || winner === undefined) return undefined;
  const sides = [sideOf(winner.stamp.writer), sideOf(loser.stamp.writer)];
  if (sides[0] === sides[1]) return undefined;
  return sides[0] === preferred ? 'winner' : 'loser';
};
