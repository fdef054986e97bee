/** The control plane's end of a shadow as it decides it, for the laws of the lanes (protos/semantics/shadow-lanes-laws). */
import type { ShadowPatch } from '@holdfast/protos/semantics/shadow-document';
import type { CloudEnd, EndContext, EndOutcome } from '@holdfast/protos/semantics/shadow-end';
import { modelSite } from '@holdfast/protos/semantics/shadow-end-model';
import { checkLaneLaws } from '@holdfast/protos/semantics/shadow-lanes-laws';
import {
  answerTo,
  deleteShadow,
  everythingOf,
  mergeHandedOver,
  mergeReceived,
  noShadow,
  type ShadowChange,
  type ShadowReplica,
  writePatch,
} from './shadow-replica.js';

const contextOf = ({ replica, seen, clock }: EndContext) => ({
  replica,
  seen,
  writer: 'cloud',
  now: clock.now,
});

const outcomeOf = (
  before: ShadowReplica,
  change: ShadowChange | undefined,
): EndOutcome<ShadowReplica> => {
  if (change === undefined) return { shadow: before };
  const { shadow, operations, dead, lost = [], isDeletion = false } = change;
  const isTold = operations.length + dead.length + lost.length > 0 || isDeletion;
  return { shadow, told: isTold ? { operations, dead, lost, isDeletion } : undefined };
};

const cloudEnd: CloudEnd<ShadowReplica> = {
  nothing: noShadow,
  stateOf: ({ state }) => state,
  timeOf: ({ time }) => time,
  write(before, [section = '', ...path], value, context) {
    const patch = {
      [section]: path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value),
    };
    // The sections of the laws' paths are those of a patch.
    return outcomeOf(before, writePatch(before, patch as ShadowPatch, contextOf(context)));
  },
  remove: (before, context) =>
    before.exists ? outcomeOf(before, deleteShadow(before, contextOf(context))) : undefined,
  receive(before, entry, { replica }) {
    const outcome = outcomeOf(before, mergeReceived(before, entry, replica));
    const answer = answerTo(entry, outcome.shadow, replica);
    return answer ? { ...outcome, told: { ...answer, isDeletion: false } } : outcome;
  },
  receiveHandedOver: (before, entry, { replica }) =>
    outcomeOf(before, mergeHandedOver(before, entry, replica)),
  everything: (before, replica) => ({ ...everythingOf(before, replica), isDeletion: false }),
};

export const checkCloudLaws = (numRuns: number, seed: number): void =>
  checkLaneLaws(cloudEnd, modelSite, { numRuns, seed });
