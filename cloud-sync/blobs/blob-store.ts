/**
 * Firmware images on disk, each under its SHA-256. An image is streamed into a temporary file, checked, synced and renamed: what has
 * a name here was whole then, and what was interrupted is removed at the next start. `BlobCheck` looks whether it is still whole.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ByteRange } from '@holdfast/provisioning/transfer/byte-ranges';

export interface BlobExpectation {
  /** SHA-256 in hexadecimal. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

const partialSuffix = '.partial';
const damagedSuffix = '.damaged';
const digestPattern = /^[0-9a-f]{64}$/;

export class BlobStore {
  readonly #directory: string;
  #uploads = 0;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(directory: string): Promise<BlobStore> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const left = (await readdir(directory)).filter((name) => name.endsWith(partialSuffix));
    await Promise.all(left.map((name) => rm(join(directory, name), { force: true })));
    return new BlobStore(directory);
  }

  /**
   * Stores what the chunks make up; it is on disk when this resolves. Errors: UPDATE_DIGEST_MISMATCH and UPDATE_SIZE_MISMATCH, after
   * which nothing is left of it; whatever the chunks throw.
   */
  async put(chunks: AsyncIterable<Uint8Array>, expected: BlobExpectation): Promise<void> {
    this.#uploads += 1;
    const partial = join(this.#directory, `${expected.sha256}.${this.#uploads}${partialSuffix}`);
    try {
      await writeChecked(partial, chunks, expected);
      await rename(partial, this.pathOf(expected.sha256));
      await syncDirectory(this.#directory);
    } finally {
      await rm(partial, { force: true });
    }
  }

  /** Its size in bytes; undefined when it is not here. */
  async sizeOf(sha256: string): Promise<number | undefined> {
    try {
      return (await stat(this.pathOf(sha256))).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Which file it is, to tell one that was uploaded again; undefined when it is not here. */
  async fileOf(sha256: string): Promise<string | undefined> {
    try {
      const { ino, ctimeMs } = await stat(this.pathOf(sha256));
      return `${ino} ${ctimeMs}`;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  read(sha256: string, range?: ByteRange): Readable {
    return createReadStream(this.pathOf(sha256), range);
  }

  /** The digests of all images. */
  async list(): Promise<string[]> {
    return (await readdir(this.#directory)).filter((name) => digestPattern.test(name));
  }

  /** Takes a damaged image out of reach, and keeps it beside the others for whoever looks into it: one of each digest. */
  async putAside(sha256: string): Promise<void> {
    const path = this.pathOf(sha256);
    await rename(path, `${path}${damagedSuffix}`);
    await syncDirectory(this.#directory);
  }

  async delete(sha256: string): Promise<void> {
    await rm(this.pathOf(sha256), { force: true });
    await rm(`${this.pathOf(sha256)}${damagedSuffix}`, { force: true });
  }

  /** Where it stands when it is here, to be read. Errors: REQUEST_INVALID. */
  pathOf(sha256: string): string {
    if (!digestPattern.test(sha256)) {
      throw new HoldfastError('REQUEST_INVALID', `'${sha256}' is no SHA-256 in hexadecimal`);
    }
    return join(this.#directory, sha256);
  }
}

const writeChecked = async (
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  expected: BlobExpectation,
): Promise<void> => {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      if (sizeBytes > expected.sizeBytes) throw sizeMismatch(`over ${sizeBytes}`, expected);
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    if (sizeBytes !== expected.sizeBytes) throw sizeMismatch(String(sizeBytes), expected);
    const sha256 = hash.digest('hex');
    if (sha256 !== expected.sha256) {
      throw new HoldfastError(
        'UPDATE_DIGEST_MISMATCH',
        `the image arrived with SHA-256 ${sha256} instead of ${expected.sha256}; upload it again`,
      );
    }
    await file.sync();
  } finally {
    await file.close();
  }
};

const sizeMismatch = (actual: string, expected: BlobExpectation) =>
  new HoldfastError(
    'UPDATE_SIZE_MISMATCH',
    `the image has ${actual} bytes instead of ${expected.sizeBytes}; upload it again`,
  );

const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};
