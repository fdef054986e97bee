/** What becomes of a shadow by what the control plane wrote, and by the age of what lost. Pure. */
import { settledBetween } from '@holdfast/protos/semantics/conflict-settlement';
import { forgetLost, withinLosers } from '@holdfast/protos/semantics/forget-operations';
import { collectAtSite } from '@holdfast/protos/semantics/shadow-collection';
import { renderShadow } from '@holdfast/protos/semantics/shadow-document';
import { applyOperations, type ShadowState } from '@holdfast/protos/semantics/shadow-merge';
import { takeLost } from '@holdfast/protos/semantics/shadow-resupply';
import { settleByPolicy } from './settle-by-policy.js';
import {
  changedTo,
  type ShadowContext,
  type ShadowDecision,
  type ShadowEvent,
} from './shadow-decision.js';
import { type StoredShadow, withState } from './stored-shadow.js';

export const decideForget = (before: StoredShadow, losers: ReadonlySet<string>): ShadowDecision => {
  const state = forgetLost(before.state, losers);
  if (state === before.state) return { kind: 'unchanged' };
  return changedTo({ shadow: withState(before, state, before) });
};

export const decideMerge = (
  before: StoredShadow,
  { operations, dead, lost = [], isDeletion = false }: ShadowEvent & { type: 'merge' },
  context: ShadowContext,
): ShadowDecision => {
  const merged = takeLost(applyOperations(before.state, operations), lost);
  const policy = settleByPolicy(before.state, merged, { ...context, floor: before.time });
  const done = collectAtSite(policy.state, dead, context.replica);
  const isSame = done.state === before.state && done.dead.length === 0;
  if (isSame && !(isDeletion && before.exists)) return { kind: 'unchanged' };
  const { state, dropped } = withinLosers(done.state, context.limits.maxLosers);
  const { desired, reported } = renderShadow(state).state;
  const holds = desired !== undefined || reported !== undefined;
  // Only what is visible counts as a version; a deletion that is forgotten does not.
  const isVisible = visibleText(state) !== visibleText(before.state);
  return changedTo({
    shadow: withState(before, state, {
      exists: holds || (before.exists && !isDeletion),
      version: isVisible ? before.version + 1 : before.version,
      held: policy.state,
    }),
    operations: policy.operations,
    dead: done.dead,
    applied: [...operations, ...policy.operations],
    settled: [
      ...settledBetween(before.state, merged, operations),
      ...settledBetween(merged, policy.state, policy.operations),
    ],
    dropped,
  });
};

const visibleText = (state: ShadowState): string => JSON.stringify(renderShadow(state));
