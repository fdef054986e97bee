/**
 * Reads every image again, once a day and slowly, and hashes it: a disk may forget what it was given. What is damaged is put aside, so that
 * no gateway fetches it for nothing and the firmware says so; an upload of the same image heals it.
 */
import { createHash } from 'node:crypto';
import type { Schedule, Scheduled } from '@holdfast/provisioning/time/schedule';
import { wait as realWait, type Wait } from '@holdfast/provisioning/time/wait';
import type { BlobStore } from './blob-store.js';

export interface BlobCheckDeps {
  readonly blobs: Pick<BlobStore, 'list' | 'fileOf' | 'read' | 'putAside'>;
  readonly schedule: Schedule;
  readonly log: {
    info(data: object, message: string): void;
    error(data: object, message: string): void;
  };
  readonly wait?: Wait;
}

export interface BlobCheckOptions {
  /** What is read a second at most: gateways and everybody's commits use the same disk. */
  readonly bytesPerSecond?: number;
}

const daily = '7 2 * * *';

export class BlobCheck {
  readonly #deps: BlobCheckDeps;
  readonly #bytesPerSecond: number;
  readonly #closing = new AbortController();
  #task: Scheduled | undefined;
  #running: Promise<void> | undefined;

  constructor(deps: BlobCheckDeps, { bytesPerSecond = 8 * 1024 * 1024 }: BlobCheckOptions = {}) {
    this.#deps = deps;
    this.#bytesPerSecond = bytesPerSecond;
  }

  open(): void {
    this.#task = this.#deps.schedule(daily, () => this.run());
  }

  /** Looks at all of them; one run at a time. Never rejects. */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#task?.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { blobs, log } = this.#deps;
    const { signal } = this.#closing;
    try {
      const all = await blobs.list();
      let damaged = 0;
      for (const sha256 of all) {
        const file = await blobs.fileOf(sha256);
        if (file === undefined || (await this.#isWhole(sha256))) continue;
        // Uploaded again meanwhile.
        if ((await blobs.fileOf(sha256)) !== file) continue;
        await blobs.putAside(sha256);
        damaged += 1;
        log.error({ sha256 }, 'an image is damaged on disk and was put aside: upload it again');
      }
      log.info({ images: all.length, damaged }, 'every image was read and hashed');
    } catch (err) {
      if (!signal.aborted) log.error({ err }, 'the images could not be checked');
    }
  }

  async #isWhole(sha256: string): Promise<boolean> {
    const { blobs, wait = realWait } = this.#deps;
    const { signal } = this.#closing;
    const hash = createHash('sha256');
    const chunks: AsyncIterable<Buffer> = blobs.read(sha256);
    try {
      for await (const chunk of chunks) {
        hash.update(chunk);
        await wait((chunk.length / this.#bytesPerSecond) * 1_000, signal);
      }
    } catch (error) {
      signal.throwIfAborted();
      const { code } = error as NodeJS.ErrnoException;
      // Deleted meanwhile; what cannot be read is as good as damaged.
      if (code === 'ENOENT') return true;
      if (code === 'EIO') return false;
      throw error;
    }
    return hash.digest('hex') === sha256;
  }
}
