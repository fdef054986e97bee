/** Writes the delta of two images into a file: everything in memory, and busy for long, so to be called in a process of its own. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { brotliCompressSync, constants, createBrotliCompress } from 'node:zlib';
import { controlOf, deltaMagic, headerOf } from './delta-format.js';
import { type Difference, findDifferences } from './find-differences.js';
import { LongestMatch } from './longest-match.js';

export interface EncodedDelta {
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface EncodeOptions {
  /** It is given up as soon as it becomes larger. */
  readonly maxBytes?: number;
  /** Brotli's, 0 to 11: 9 takes a tenth of the time of 11, and a sixth more bytes. */
  readonly quality?: number;
}

/** Null when it would be larger than `maxBytes`. An empty source gives the target, compressed. */
export const encodeDelta = async (
  source: Uint8Array,
  target: Uint8Array,
  path: string,
  { maxBytes = Number.POSITIVE_INFINITY, quality = 11 }: EncodeOptions = {},
): Promise<EncodedDelta | null> => {
  const differences = chooseDifferences(source, target);
  const hash = createHash('sha256');
  const encoded = { sizeBytes: 0 };
  const guard = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      encoded.sizeBytes += chunk.length;
      if (encoded.sizeBytes > maxBytes) throw tooLarge;
      hash.update(chunk);
      yield chunk;
    }
  };
  const pieces = piecesOf(source, target, differences);
  try {
    await pipeline(
      Readable.from(pieces, { objectMode: false }),
      createBrotliCompress(compression(target.length, { quality, windowBits })),
      guard,
      createWriteStream(path, { mode: 0o600 }),
    );
  } catch (error) {
    if (error === tooLarge) return null;
    throw error;
  }
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  return { ...encoded, sha256: hash.digest('hex') };
};

const tooLarge = new Error('too large');

/** 4 MiB: a larger window takes the decoder's memory, and gains nothing with deltas, which are nothing but zeros over long stretches. */
const windowBits = 22;

/** Enough to tell which of two is smaller. */
const quick = { quality: 5, windowBits };

const compression = (sizeBytes: number, { quality, windowBits }: typeof quick) => ({
  params: {
    [constants.BROTLI_PARAM_QUALITY]: quality,
    [constants.BROTLI_PARAM_LGWIN]: windowBits,
    [constants.BROTLI_PARAM_SIZE_HINT]: sizeBytes,
  },
});

/** What is best depends on how much was changed; trying costs time only where there is little of it to cost. */
const turns = [8, 12, 16];
const largestTriedBytes = 8 * 1024 * 1024;

const chooseDifferences = (source: Uint8Array, target: Uint8Array): Difference[] => {
  const match = new LongestMatch(source, target);
  const [first = [], ...others] = turns
    .slice(0, target.length <= largestTriedBytes ? turns.length : 1)
    .map((turnBytes) => [...findDifferences(match, { turnBytes })]);
  if (others.length === 0) return first;
  const sizeOf = (differences: Difference[]): number =>
    brotliCompressSync(
      Buffer.concat([...piecesOf(source, target, differences)]),
      compression(target.length, quick),
    ).length;
  let smallest = { differences: first, sizeBytes: sizeOf(first) };
  for (const differences of others) {
    const sizeBytes = sizeOf(differences);
    if (sizeBytes < smallest.sizeBytes) smallest = { differences, sizeBytes };
  }
  return smallest.differences;
};

const pieceBytes = 256 * 1024;

/** The stream before it is compressed, in pieces that are no smaller than they need be. */
export function* piecesOf(
  source: Uint8Array,
  target: Uint8Array,
  differences: Iterable<Difference>,
): Generator<Buffer> {
  let parts: Uint8Array[] = [headerOf(target.length)];
  let gathered = deltaMagic.length;
  for (const { sourceAt, targetAt, ...control } of differences) {
    const { diffBytes, extraBytes } = control;
    const diff = Buffer.allocUnsafe(diffBytes);
    for (let i = 0; i < diffBytes; i += 1) {
      diff[i] = (target[targetAt + i] as number) - (source[sourceAt + i] as number);
    }
    const extraAt = targetAt + diffBytes;
    parts.push(controlOf(control), diff, target.subarray(extraAt, extraAt + extraBytes));
    gathered += diffBytes + extraBytes;
    if (gathered < pieceBytes) continue;
    yield Buffer.concat(parts);
    parts = [];
    gathered = 0;
  }
  if (parts.length > 0) yield Buffer.concat(parts);
}
