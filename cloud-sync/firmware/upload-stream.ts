/** An upload as it comes over gRPC: metadata, the manifest, then chunks, read one at a time as fast as they are stored. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type {
  FirmwareImage,
  FirmwareMetadata,
  UploadFirmwareRequest,
} from '@holdfast/protos/gen/holdfast/v1/firmware';
import type { MetadataFile } from '@holdfast/provisioning/firmware/metadata-file';
import { withDeadline } from '@holdfast/provisioning/time/deadline';

export interface Upload {
  readonly metadata: readonly MetadataFile[];
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
const mostMetadataFiles = 256;
const mostMetadataBytes = 16 * 1024 * 1024;

/** Resolves when the manifest is there. Nothing more is read from the wire until the chunks are. */
export const readUpload = async (
  requests: AsyncIterable<UploadFirmwareRequest>,
  { signal, idleTimeoutMs = 60_000 }: UploadOptions,
): Promise<Upload> => {
  const iterator = requests[Symbol.asyncIterator]();
  const next = () =>
    withDeadline(iterator.next(), idleTimeoutMs, { signal, doing: 'waiting for the image' });
  const metadata = new MetadataFiles();
  let request = await next();
  while (request.done !== true && request.value.part?.$case === 'metadata') {
    metadata.add(request.value.part.value);
    request = await next();
  }
  if (request.done === true || request.value.part?.$case !== 'manifest') {
    throw new HoldfastError('REQUEST_INVALID', 'An image begins with the manifest');
  }
  return {
    metadata: metadata.all,
    manifest: request.value.part.value,
    chunks: chunksOf(next),
  };
};

/** Reads metadata that comes without an image. Errors: REQUEST_TOO_LARGE, DEADLINE_EXCEEDED, the signal's reason. */
export const readMetadataUpload = async (
  requests: AsyncIterable<FirmwareMetadata>,
  { signal, idleTimeoutMs = 60_000 }: UploadOptions,
): Promise<readonly MetadataFile[]> => {
  const iterator = requests[Symbol.asyncIterator]();
  const next = () =>
    withDeadline(iterator.next(), idleTimeoutMs, { signal, doing: 'waiting for the metadata' });
  const metadata = new MetadataFiles();
  for (let file = await next(); file.done !== true; file = await next()) metadata.add(file.value);
  return metadata.all;
};

/** Files of metadata as they come, which is never more than memory has. */
class MetadataFiles {
  readonly all: MetadataFile[] = [];
  #bytes = 0;

  /** Errors: REQUEST_TOO_LARGE. */
  add({ role, version, signed }: FirmwareMetadata): void {
    this.#bytes += Buffer.byteLength(signed);
    if (this.#bytes > mostMetadataBytes || this.all.length >= mostMetadataFiles) {
      throw new HoldfastError(
        'REQUEST_TOO_LARGE',
        `An upload has at most ${mostMetadataFiles} files of metadata and ${mostMetadataBytes} bytes of them`,
      );
    }
    this.all.push({ role, version: Number(version), signed });
  }
}

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
