/**
 * Room on a disk, kept for what may not wait until somebody made some (an emergency stop, a revocation, the end of an update): a file that
 * is given up when the disk is full, and made again once there is room. While it is given up nothing else is written, or the
 * room would be gone before the next of those.
 */
import { randomFillSync } from 'node:crypto';
import { open, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from './store.js';

export interface DiskReserveDeps {
  readonly log: StoreLog;
  /** Ms that never run back. */
  readonly monotonic: () => number;
}

export interface DiskReserveOptions {
  readonly path: string;
  readonly sizeBytes?: number;
}

const lookAgainMs = 10_000;

export class DiskReserve {
  readonly #deps: DiskReserveDeps;
  readonly #path: string;
  readonly #sizeBytes: number;
  #isHeld = false;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #making: Promise<void> | undefined;
  #spending: Promise<true> | undefined;

  private constructor(deps: DiskReserveDeps, { path, sizeBytes }: DiskReserveOptions) {
    this.#deps = deps;
    this.#path = path;
    this.#sizeBytes = sizeBytes ?? 4 * 1024 * 1024;
  }

  /** A disk too full for it opens all the same: then nothing but what is urgent is written. */
  static async open(deps: DiskReserveDeps, options: DiskReserveOptions): Promise<DiskReserve> {
    const reserve = new DiskReserve(deps, options);
    await reserve.#make();
    return reserve;
  }

  /** Why nothing is written that is not urgent: STORE_FULL. It looks for room by itself, so ask again with the next write. */
  refusal(): HoldfastError | undefined {
    if (this.#isHeld) return undefined;
    if (this.#deps.monotonic() - this.#lookedAt >= lookAgainMs) this.#making ??= this.#make();
    return new HoldfastError('STORE_FULL', 'The disk is full; what room is left is kept', {
      data: { next: 'make room on the disk of the data folder, then try again' },
    });
  }

  /** Gives the room up for an urgent write, or for all that ask at once. False when it was given up before. */
  async spend(): Promise<boolean> {
    await this.#making;
    if (!this.#isHeld) return (await this.#spending) ?? false;
    this.#isHeld = false;
    this.#spending = this.#giveUp().finally(() => {
      this.#spending = undefined;
    });
    return this.#spending;
  }

  async #giveUp(): Promise<true> {
    this.#lookedAt = this.#deps.monotonic();
    await rm(this.#path, { force: true });
    this.#deps.log.error(
      { path: this.#path, sizeBytes: this.#sizeBytes },
      'The disk is full: the room kept for urgent writes is used, and nothing else is written until there is more',
    );
    return true;
  }

  async #make(): Promise<void> {
    this.#lookedAt = this.#deps.monotonic();
    try {
      // Of one that was killed while it made it.
      await rm(this.#partPath, { force: true });
      this.#isHeld = (await this.#isWhole()) || (await this.#hasRoom());
      if (this.#isHeld && !(await this.#isWhole())) await this.#write();
    } catch (error) {
      this.#isHeld = false;
      this.#deps.log.warn(
        { path: this.#path, reason: messageOf(error) },
        'No room could be kept on the disk for urgent writes',
      );
    } finally {
      this.#making = undefined;
    }
  }

  get #partPath(): string {
    return `${this.#path}.part`;
  }

  async #isWhole(): Promise<boolean> {
    const found = await stat(this.#path).catch(() => undefined);
    return found?.size === this.#sizeBytes;
  }

  /** Twice as much as it takes, so that what it gave up is not called room. */
  async #hasRoom(): Promise<boolean> {
    const { bavail, bsize } = await statfs(dirname(this.#path));
    return bavail * bsize >= 2 * this.#sizeBytes;
  }

  async #write(): Promise<void> {
    const temporary = this.#partPath;
    const file = await open(temporary, 'w', 0o600);
    try {
      // No zeros: a file system that packs would keep no room for them.
      await file.writeFile(randomFillSync(Buffer.allocUnsafe(this.#sizeBytes)));
      await file.sync();
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    await rename(temporary, this.#path);
  }
}
