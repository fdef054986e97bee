/** An upload as it comes over gRPC: the manifest, then chunks, read one at a time as fast as they are stored. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type {
  FirmwareImage,
  UploadFirmwareRequest,
} from '@holdfast/protos/gen/holdfast/v1/firmware';
import { withDeadline } from '@holdfast/provisioning/time/deadline';

export interface Upload {
  readonly manifest: FirmwareImage;
  /** To be read once. Errors: REQUEST_INVALID, REQUEST_TOO_LARGE, DEADLINE_EXCEEDED, the signal's reason. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface UploadOptions {
  readonly signal: AbortSignal;
  /** An upload of which nothing comes for so long is given up. */
  readonly idleTimeoutMs?: number;
}

const largestChunkBytes = 1024 * 1024;

/** Resolves when the manifest is there. Nothing more is read from the wire until the chunks are. */
export const readUpload = async (
  requests: AsyncIterable<UploadFirmwareRequest>,
  { signal, idleTimeoutMs = 60_000 }: UploadOptions,
): Promise<Upload> => {
  const iterator = requests[Symbol.asyncIterator]();
  const next = () =>
    withDeadline(iterator.next(), idleTimeoutMs, { signal, doing: 'waiting for the image' });
  const first = await next();
  if (first.done === true || first.value.part?.$case !== 'manifest') {
    throw new HoldfastError('REQUEST_INVALID', 'An upload begins with the manifest');
  }
  return { manifest: first.value.part.value, chunks: chunksOf(next) };
};

const chunksOf = async function* (
  next: () => Promise<IteratorResult<UploadFirmwareRequest>>,
): AsyncGenerator<Uint8Array> {
  // The iterator is never told to return: it would wait for the read under way, and the call's end ends it anyway.
  for (let request = await next(); request.done !== true; request = await next()) {
    const { part } = request.value;
    if (part?.$case !== 'chunk') {
      throw new HoldfastError('REQUEST_INVALID', 'After the manifest come chunks alone');
    }
    if (part.value.length > largestChunkBytes) {
      throw new HoldfastError('REQUEST_TOO_LARGE', 'A chunk has more than 1 MiB');
    }
    yield part.value;
  }
};
