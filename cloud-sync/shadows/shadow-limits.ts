/** The limits of protos/semantics/shadow-limits as this API answers them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  editsOf,
  faultOfPatch,
  type ShadowPatch,
} from '@holdfast/protos/semantics/shadow-document';
import {
  faultOfEdits,
  faultOfGrowth,
  type ShadowLimits,
} from '@holdfast/protos/semantics/shadow-limits';
import type { ShadowReplica } from './shadow-replica.js';

/** Errors: REQUEST_INVALID. */
export const checkPatch = (patch: ShadowPatch, { maxDepth }: ShadowLimits): void => {
  const fault = faultOfPatch(patch, maxDepth);
  if (fault !== undefined) throw new HoldfastError('REQUEST_INVALID', fault);
};

/** Errors: REQUEST_TOO_LARGE. */
export const checkEdits = (
  { state }: ShadowReplica,
  patch: ShadowPatch,
  limits: ShadowLimits,
): void => refuse(faultOfEdits(editsOf(state, patch).length, limits));

/** Errors: REQUEST_TOO_LARGE. */
export const checkGrowth = (
  before: ShadowReplica,
  after: ShadowReplica,
  limits: ShadowLimits,
): void => refuse(faultOfGrowth(before.state, after.state, limits));

const refuse = (fault: string | undefined): void => {
  if (fault !== undefined) throw new HoldfastError('REQUEST_TOO_LARGE', fault);
};
