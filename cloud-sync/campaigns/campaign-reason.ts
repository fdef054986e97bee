/** Why somebody does something to a campaign, as it is kept and shown. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

const longestReason = 1_000;

/** Errors: REQUEST_INVALID. */
export const requireReason = (reason: string): string => {
  if (reason.length <= longestReason) return reason;
  throw new HoldfastError('REQUEST_INVALID', `reason has at most ${longestReason} characters`);
};
