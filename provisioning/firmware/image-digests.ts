/** What is signed about the bytes of an image, read once and never held whole. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

export interface ImageDigests {
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly sha1: string;
  readonly md5: string;
}

export interface DigestOptions {
  readonly signal?: AbortSignal;
  /** Reading ends above this, whatever is still to come: FIRMWARE_DATA_ENDLESS. */
  readonly mostBytes?: number;
  readonly onRead?: (readBytes: number) => void;
}

/** Errors: FIRMWARE_DATA_ENDLESS, whatever reading throws. */
export const digestImage = async (
  chunks: AsyncIterable<Uint8Array>,
  { mostBytes = Number.MAX_SAFE_INTEGER, onRead }: Omit<DigestOptions, 'signal'> = {},
): Promise<ImageDigests> => {
  const hashes = { sha256: createHash('sha256'), sha1: createHash('sha1'), md5: createHash('md5') };
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.length;
    if (sizeBytes > mostBytes) {
      throw new HoldfastError(
        'FIRMWARE_DATA_ENDLESS',
        `There is more than the ${mostBytes} bytes that are signed`,
      );
    }
    for (const hash of Object.values(hashes)) hash.update(chunk);
    onRead?.(sizeBytes);
  }
  const { sha256, sha1, md5 } = hashes;
  return {
    sizeBytes,
    sha256: sha256.digest('hex'),
    sha1: sha1.digest('hex'),
    md5: md5.digest('hex'),
  };
};

/** Errors: REQUEST_INVALID when it is no file with something in it, FIRMWARE_DATA_ENDLESS. */
export const digestFile = async (
  path: string,
  { signal, ...options }: DigestOptions = {},
): Promise<ImageDigests> => {
  await fileSize(path);
  return digestImage(createReadStream(path, signal === undefined ? {} : { signal }), options);
};

/** Errors: REQUEST_INVALID. */
export const fileSize = async (path: string): Promise<number> => {
  const found = await stat(path).catch((cause: unknown) => {
    throw new HoldfastError('REQUEST_INVALID', `can't read ${path}: ${messageOf(cause)}`, {
      cause,
    });
  });
  if (!found.isFile() || found.size === 0) {
    throw new HoldfastError('REQUEST_INVALID', `${path} is not a file with something in it`);
  }
  return found.size;
};
