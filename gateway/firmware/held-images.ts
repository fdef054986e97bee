/**
 * The images on disk, each under its digest. Nobody gets one that was not looked through since this start; one that is not what its
 * name says is put aside and told.
 */
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';

export interface HeldImagesDeps {
  readonly log: StoreLog;
  readonly now: () => number;
  /** One turned out damaged, and is not here any more. */
  readonly onDamaged: (sha256: string) => void;
}

export interface HeldImagesOptions {
  readonly folder: string;
  /** Where the last one that was not what its name says is kept. */
  readonly quarantine: string;
}

export interface HeldImage {
  readonly sha256: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** Tells this file from another that took its place later. */
  readonly arrival: number;
}

interface Held extends HeldImage {
  /** Whether it is what its name says, once somebody looked; a look that failed for another reason is none. */
  verified: Promise<boolean> | undefined;
  usedAt: number;
  writtenUsedAt: number;
}

/** How far the time of last use on disk may be behind, ms. */
const usedAtEveryMs = 3_600_000;
const digest = /^[0-9a-f]{64}$/;
/** What the file system says of a file that cannot be had any more. */
const lost: ReadonlySet<string> = new Set(['ENOENT', 'EIO', 'EISDIR']);

export class HeldImages {
  readonly #deps: HeldImagesDeps;
  readonly #options: HeldImagesOptions;
  readonly #held = new Map<string, Held>();
  readonly #stop = new AbortController();
  #arrivals = 0;
  #lookingThrough: Promise<void> | undefined;

  constructor(deps: HeldImagesDeps, options: HeldImagesOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Finds what is there, and looks through it meanwhile. */
  async open(): Promise<void> {
    const { folder } = this.#options;
    await mkdir(folder, { recursive: true });
    for (const name of await readdir(folder)) {
      if (!digest.test(name)) continue;
      const { size, mtimeMs } = await stat(join(folder, name));
      this.#hold(name, size, mtimeMs);
    }
    this.#lookingThrough = this.#lookThrough();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#lookingThrough;
  }

  /** One that is still to be looked through counts too. */
  has(sha256: string): boolean {
    return this.#held.has(sha256);
  }

  get bytes(): number {
    let bytes = 0;
    for (const { sizeBytes } of this.#held.values()) bytes += sizeBytes;
    return bytes;
  }

  /** Where the image of this digest stands, or is to be put. */
  pathOf(sha256: string): string {
    return join(this.#options.folder, sha256);
  }

  /** All, the one that was not used for the longest time first. */
  byUse(): HeldImage[] {
    return [...this.#held.values()].sort((a, b) => a.usedAt - b.usedAt);
  }

  /** One that was just put where `pathOf` says, and verified. */
  add(sha256: string, sizeBytes: number): void {
    this.#hold(sha256, sizeBytes, this.#deps.now()).verified = Promise.resolve(true);
  }

  async remove(sha256: string): Promise<void> {
    if (this.#held.delete(sha256)) await rm(this.pathOf(sha256), { force: true });
  }

  /** An image to serve; undefined when it is not here. STORE_UNAVAILABLE when it cannot be read now. */
  async get(sha256: string): Promise<HeldImage | undefined> {
    const held = this.#held.get(sha256);
    if (held === undefined || !(await this.#isWhole(held))) return undefined;
    held.usedAt = this.#deps.now();
    if (held.usedAt - held.writtenUsedAt > usedAtEveryMs) {
      held.writtenUsedAt = held.usedAt;
      // Only the order of eviction after a restart is lost with it.
      utimes(held.path, held.usedAt / 1_000, held.usedAt / 1_000).catch(() => undefined);
    }
    return held;
  }

  /** An image could not be read as it should: if it is damaged, it is put aside, and fetched again when it is needed. */
  async check(sha256: string): Promise<void> {
    const held = this.#held.get(sha256);
    if (held === undefined) return;
    held.verified = undefined;
    await this.#isWhole(held).catch(() => undefined);
  }

  /** Looks once; all who ask meanwhile wait for that look. */
  #isWhole(held: Held): Promise<boolean> {
    held.verified ??= this.#verify(held).catch((error: unknown) => {
      held.verified = undefined;
      throw error;
    });
    return held.verified;
  }

  async #verify(held: Held): Promise<boolean> {
    const { sha256, path } = held;
    const found = await digestOf(path, this.#stop.signal).catch((error: unknown) => {
      // Whatever else it is (too many open files, say), it says nothing of the image.
      const isLost = error instanceof Error && 'code' in error && lost.has(String(error.code));
      if (isLost) return messageOf(error);
      throw new HoldfastError('STORE_UNAVAILABLE', messageOf(error), { cause: error });
    });
    if (found === sha256) return true;
    // It may have been evicted meanwhile.
    if (this.#held.get(sha256) !== held) return false;
    this.#held.delete(sha256);
    this.#deps.log.error(
      { sha256, found },
      'a firmware image was damaged on disk and is put aside',
    );
    const { quarantine } = this.#options;
    await rm(quarantine, { recursive: true, force: true })
      .then(() => mkdir(quarantine, { recursive: true }))
      .then(() => rename(path, join(quarantine, sha256)))
      // Where nothing can be moved the next download takes its place.
      .catch(() => undefined);
    this.#deps.onDamaged(sha256);
    return false;
  }

  async #lookThrough(): Promise<void> {
    for (const held of [...this.#held.values()]) {
      if (this.#stop.signal.aborted) return;
      await this.#isWhole(held).catch(() => undefined);
    }
  }

  #hold(sha256: string, sizeBytes: number, at: number): Held {
    this.#arrivals += 1;
    const held: Held = {
      sha256,
      sizeBytes,
      path: this.pathOf(sha256),
      arrival: this.#arrivals,
      usedAt: at,
      writtenUsedAt: at,
      verified: undefined,
    };
    this.#held.set(sha256, held);
    return held;
  }
}
