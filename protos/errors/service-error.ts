/** What went wrong with a gRPC call, in our codes. */
import * as grpc from '@grpc/grpc-js';
import { type ErrorCode, errorCodes } from './codes.js';
import { HoldfastError } from './holdfast-error.js';

/** Metadata key under which a server of ours names the code. */
export const codeMetadataKey = 'holdfast-code';

/** Metadata key of what to do next, where the server knows; UTF-8. */
export const nextMetadataKey = 'holdfast-next-bin';

/** A gRPC status as the HoldfastError it was at the other end, or as what it means when there was no other end. */
export const fromServiceError = (error: grpc.ServiceError, address: string): HoldfastError => {
  const named = error.metadata?.get(codeMetadataKey)[0]?.toString();
  if (named !== undefined && named in errorCodes) {
    const next = error.metadata.get(nextMetadataKey)[0]?.toString();
    return new HoldfastError(named as ErrorCode, error.details, {
      cause: error,
      data: next === undefined ? {} : { next },
    });
  }
  if (error.code === grpc.status.UNAVAILABLE) {
    return new HoldfastError(
      'CONNECTION_FAILED',
      `the control plane at ${address} does not answer (${lastErrorOf(error.details)}). Is it running, and is the address right?`,
      { cause: error },
    );
  }
  if (error.code === grpc.status.DEADLINE_EXCEEDED) {
    return new HoldfastError('DEADLINE_EXCEEDED', `no answer from ${address} in time`, {
      cause: error,
    });
  }
  if (error.code === grpc.status.UNAUTHENTICATED) {
    return new HoldfastError(
      'NOT_AUTHENTICATED',
      `${address} does not know who is asking: ${error.details}`,
      {
        cause: error,
      },
    );
  }
  return new HoldfastError('INTERNAL', error.details, { cause: error });
};

/** grpc-js wraps the reason: `No connection established. Last error: Error: connect ECONNREFUSED …. Resolution note: …`. */
const lastErrorOf = (details: string): string =>
  /Last error: (?:Error: )?(.+?)\.? Resolution note:/.exec(details)?.[1] ?? details;
