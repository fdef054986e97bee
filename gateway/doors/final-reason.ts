import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

/**
 * Why a message can be taken neither now nor later: it is acknowledged and counted, for sent again it would be no better. Throws again
 * what may be different another time: what could not be stored is never acknowledged.
 */
export const finalReasonOf = (error: unknown): string => {
  const isFinal =
    isHoldfastError(error) &&
    !error.isRetryable &&
    error.code !== 'INTERNAL' &&
    error.code !== 'STORE_CORRUPT';
  if (!isFinal) throw error;
  return messageOf(error);
};
