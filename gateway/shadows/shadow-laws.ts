/** The site's end of a shadow as the gateway decides it, for the laws of the lanes (protos/semantics/shadow-lanes-laws). */

import type { EndContext, EndOutcome, ShadowEnd } from '@holdfast/protos/semantics/shadow-end';
import { modelCloud } from '@holdfast/protos/semantics/shadow-end-model';
import { checkLaneLaws } from '@holdfast/protos/semantics/shadow-lanes-laws';
import { everythingIn } from '@holdfast/protos/semantics/shadow-resupply';
import { decideShadow } from './decide-shadow.js';
import { defaultShadowLimits, type ShadowEvent } from './shadow-decision.js';
import { noShadow, type StoredShadow } from './stored-shadow.js';

const decide = (
  before: StoredShadow,
  event: ShadowEvent,
  context: EndContext,
): EndOutcome<StoredShadow> | undefined => {
  const limits = defaultShadowLimits;
  const decision = decideShadow(before, event, {
    ...context,
    ...{ name: 'classic', shadow: '-', rules: [], limits },
  });
  if (decision.kind === 'refused') return undefined;
  if (decision.kind === 'unchanged') return { shadow: before };
  const { shadow, operations, dead, isDeletion } = decision;
  const isTold = operations.length + dead.length > 0 || isDeletion;
  return { shadow, told: isTold ? { operations, dead, isDeletion } : undefined };
};

const siteEnd: ShadowEnd<StoredShadow> = {
  nothing: noShadow,
  stateOf: ({ state }) => state,
  timeOf: ({ time }) => time,
  write(before, [section = '', ...path], value, context) {
    const patch = {
      [section]: path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value),
    };
    const writer = section === 'reported' ? 'device:pump' : 'site:anna';
    const event = { type: 'update', writer, patch } as ShadowEvent; // the sections of `paths` are those of a patch
    return decide(before, event, context) ?? { shadow: before };
  },
  remove: (before, context) => decide(before, { type: 'delete', writer: 'device:pump' }, context),
  receive: (before, entry, context) =>
    decide(before, { type: 'merge', ...entry }, context) ?? { shadow: before },
  everything: ({ state }) => ({
    ...everythingIn(state),
    ...{ dead: [], isDeletion: false, isEverything: true },
  }),
};

export const checkSiteLaws = (numRuns: number, seed: number): void =>
  checkLaneLaws(modelCloud, siteEnd, { numRuns, seed });
