/**
 * What an error is on the wire: the canonical gRPC status, our code in the trailing metadata `holdfast-code`, a text that helps and,
 * where there is one, the next step.
 */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { errorCodes } from '@holdfast/protos/errors/codes';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { codeMetadataKey, nextMetadataKey } from '@holdfast/protos/errors/service-error';

/** `onUnexpected` hears of what is no HoldfastError, or INTERNAL: the caller is told nothing of it but that it happened. */
export const statusOf = (error: unknown, onUnexpected: (error: unknown) => void): ServiceError => {
  const known = isHoldfastError(error) && error.code !== 'INTERNAL' ? error : undefined;
  if (known === undefined) onUnexpected(error);
  const told =
    known ?? new HoldfastError('INTERNAL', 'Holdfast made a mistake; its log says which');
  const metadata = new Metadata();
  metadata.set(codeMetadataKey, told.code);
  const { next } = told.data;
  if (typeof next === 'string') metadata.set(nextMetadataKey, Buffer.from(next.slice(0, 300)));
  return Object.assign(new Error(told.message), {
    code: status[errorCodes[told.code].grpc],
    // A header's size is bounded by the other side, and this text may hold what it sent.
    details: told.message.slice(0, 1_000),
    metadata,
  });
};
