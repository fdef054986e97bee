/**
 * Makes an image of one that is held and a delta, in a few megabytes of memory whatever their sizes. What has the target's name is whole
 * and verified; what a break leaves is made again from the first byte, which takes seconds.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import {
  controlBytes,
  deltaFormat,
  deltaMagic,
  headerBytes,
  readControl,
  readNumber,
} from './delta-format.js';
import { DeltaInput } from './delta-input.js';
import { SourcePages } from './source-pages.js';

export interface DeltaApplication {
  /** The image that the delta was made from; null for nothing, when the delta is the image, compressed. */
  readonly source: string | null;
  readonly delta: string;
  readonly format: string;
  /** Where the image goes. */
  readonly target: string;
  /** Of the image, as it was signed. */
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Percent, whole numbers, rising. */
  readonly onProgress?: (percent: number) => void;
  readonly signal: AbortSignal;
}

/** Where an image stands while it is made: of no use to a download that goes on. */
export const unfinishedOf = (target: string): string => `${target}.rebuilding`;

/**
 * Errors: UPDATE_DELTA_INVALID for a delta that is damaged, of another format or made for other images; UPDATE_DIGEST_MISMATCH when what
 * it makes is another image; STORE_FULL; STORE_UNAVAILABLE; the signal's reason. After each of them nothing is left but the delta.
 */
export const applyDelta = async (application: DeltaApplication): Promise<void> => {
  const { target, format, delta, sizeBytes, signal } = application;
  if (format !== deltaFormat) throw invalid(`its format is ${format.slice(0, 100)}`);
  const unfinished = unfinishedOf(target);
  const source = await SourcePages.open(application.source);
  const input = DeltaInput.open(delta, { signal, maxBytes: unpackedLimit(sizeBytes) });
  try {
    const file = await open(unfinished, 'w', 0o600).catch(throwStorage);
    try {
      const output = new Output(file, application);
      await rebuild(input, source, output, signal);
      await output.finish();
    } finally {
      await file.close();
    }
    await rename(unfinished, target).catch(throwStorage);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  } finally {
    input.close();
    await source.close();
  }
  await syncFolder(dirname(target));
};

/** A control for every eighth byte of the image is more than any encoder writes, and keeps what a hostile delta costs within bounds. */
const unpackedLimit = (sizeBytes: number): number =>
  headerBytes + sizeBytes + controlBytes * (1_024 + Math.ceil(sizeBytes / 8));

const largestPieceBytes = 64 * 1024;

const rebuild = async (
  input: DeltaInput,
  source: SourcePages,
  output: Output,
  signal: AbortSignal,
): Promise<void> => {
  const header = await input.take(headerBytes);
  if (!header.subarray(0, deltaMagic.length).equals(deltaMagic)) throw invalid('it is no bsdiff');
  const promised = readNumber(header, deltaMagic.length);
  if (promised !== output.missingBytes) {
    throw invalid(`it makes ${promised} bytes instead of ${output.missingBytes}`);
  }
  let at = 0;
  while (output.missingBytes > 0) {
    signal.throwIfAborted();
    const { diffBytes, extraBytes, seekBytes } = readControl(await input.take(controlBytes));
    // Comparisons with NaN are false, so that each says what must hold.
    const isWithin =
      diffBytes >= 0 && extraBytes >= 0 && diffBytes + extraBytes <= output.missingBytes;
    if (!isWithin) throw invalid('it makes more than the image');
    if (diffBytes > 0 && !(at >= 0 && at + diffBytes <= source.sizeBytes)) {
      throw invalid('it needs what is beyond its source');
    }
    for (let rest = diffBytes; rest > 0; ) {
      const piece = await input.some(Math.min(rest, largestPieceBytes));
      await source.addTo(piece, at);
      await output.write(piece);
      at += piece.length;
      rest -= piece.length;
    }
    for (let rest = extraBytes; rest > 0; ) {
      const piece = await input.some(Math.min(rest, largestPieceBytes));
      await output.write(piece);
      rest -= piece.length;
    }
    at += seekBytes;
    if (!Number.isSafeInteger(at)) throw invalid('it needs what is beyond its source');
  }
  await input.expectEnd();
};

/** The image as it comes to be: gathered into larger writes, and hashed. */
class Output {
  missingBytes: number;
  readonly #file: FileHandle;
  readonly #application: DeltaApplication;
  readonly #hash = createHash('sha256');
  readonly #buffer = Buffer.allocUnsafeSlow(256 * 1024);
  #used = 0;
  #percent = -1;

  constructor(file: FileHandle, application: DeltaApplication) {
    this.#file = file;
    this.#application = application;
    this.missingBytes = application.sizeBytes;
  }

  async write(piece: Buffer): Promise<void> {
    this.missingBytes -= piece.length;
    for (let done = 0; done < piece.length; ) {
      const copied = piece.copy(this.#buffer, this.#used, done);
      this.#used += copied;
      done += copied;
      if (this.#used === this.#buffer.length) await this.#flush();
    }
  }

  async finish(): Promise<void> {
    await this.#flush();
    const { sha256 } = this.#application;
    if (this.#hash.digest('hex') !== sha256) {
      throw new HoldfastError('UPDATE_DIGEST_MISMATCH', `what the delta makes is not ${sha256}`);
    }
    await this.#file.sync().catch(throwStorage);
  }

  async #flush(): Promise<void> {
    const piece = this.#buffer.subarray(0, this.#used);
    this.#used = 0;
    this.#hash.update(piece);
    await this.#file.writeFile(piece).catch(throwStorage);
    const { sizeBytes, onProgress } = this.#application;
    const percent = Math.floor(((sizeBytes - this.missingBytes) * 100) / sizeBytes);
    if (percent > this.#percent) onProgress?.(percent);
    this.#percent = percent;
  }
}

const invalid = (why: string): HoldfastError =>
  new HoldfastError('UPDATE_DELTA_INVALID', `the delta cannot be applied: ${why}`);

const throwStorage = (error: unknown): never => {
  const isFull = error instanceof Error && 'code' in error && error.code === 'ENOSPC';
  const code = isFull ? 'STORE_FULL' : 'STORE_UNAVAILABLE';
  throw new HoldfastError(code, messageOf(error), { cause: error });
};

const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};
