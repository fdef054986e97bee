/**
 * lowdb's adapter for one JSON file: a temporary file is written and synced, the version before is kept as `<file>.previous`, and the
 * directory is synced. Renames alone, so that it also works on FAT, where a Pi's boot partition lives.
 */
import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Adapter } from 'lowdb';

export interface RecordFileOptions<T> {
  readonly path: string;
  readonly parse: (value: unknown) => T;
  readonly mode: number;
  readonly now: () => number;
}

/** Why the file was not used, and where it lies now. */
export interface Recovered {
  readonly reason: string;
  readonly movedTo: string;
}

type Version<T> =
  | { readonly state: 'missing' }
  | { readonly state: 'torn'; readonly reason: string }
  | { readonly state: 'whole'; readonly value: T };

export class RecordFile<T> implements Adapter<T> {
  readonly #options: RecordFileOptions<T>;
  readonly #previous: string;
  /** Set by a `read` that found the file torn. */
  recovered: Recovered | undefined;

  constructor(options: RecordFileOptions<T>) {
    this.#options = options;
    this.#previous = `${options.path}.previous`;
  }

  /** The newest whole version; null when there was never one. STORE_CORRUPT when versions exist and none is whole. */
  async read(): Promise<T | null> {
    const { path, now } = this.#options;
    const current = await this.#load(path);
    if (current.state === 'whole') return current.value;
    const before = await this.#load(this.#previous);
    // A write that was cut between its two renames leaves this, and was never acknowledged.
    if (current.state === 'missing' && before.state === 'missing') return null;
    if (before.state !== 'whole') {
      const reason = current.state === 'torn' ? current.reason : 'it is missing';
      throw new HoldfastError(
        'STORE_CORRUPT',
        `${path}: ${reason}, and no version before is whole`,
        {
          data: { path },
        },
      );
    }
    if (current.state === 'torn') {
      // Out of the way, or the next write would keep the torn version in place of the good one.
      const movedTo = `${path}.torn-${new Date(now()).toISOString().replaceAll(/[-:]/g, '')}`;
      await rename(path, movedTo);
      await syncFolderOf(path);
      this.recovered = { reason: current.reason, movedTo };
    }
    return before.value;
  }

  /** Resolves when the value survives a power cut. STORE_FULL, or STORE_UNAVAILABLE; then the version before still holds. */
  async write(value: T): Promise<void> {
    try {
      await this.#replace(value);
    } catch (error) {
      const isFull = error instanceof Error && 'code' in error && error.code === 'ENOSPC';
      const code = isFull ? 'STORE_FULL' : 'STORE_UNAVAILABLE';
      throw new HoldfastError(code, messageOf(error), { cause: error });
    }
  }

  async #replace(value: T): Promise<void> {
    const { path, mode } = this.#options;
    const temporary = `${path}.tmp`;
    const file = await open(temporary, 'w', mode);
    try {
      await file.writeFile(`${JSON.stringify(value, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(path, this.#previous).catch(unlessMissing);
    await rename(temporary, path);
    await syncFolderOf(path);
  }

  async #load(path: string): Promise<Version<T>> {
    const text = await readFile(path, 'utf8').catch(unlessMissing);
    if (text === undefined) return { state: 'missing' };
    try {
      return { state: 'whole', value: this.#options.parse(JSON.parse(text)) };
    } catch (error) {
      return { state: 'torn', reason: messageOf(error) };
    }
  }
}

function unlessMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}

async function syncFolderOf(path: string): Promise<void> {
  const folder = await open(dirname(path));
  await folder.sync().finally(() => folder.close());
}
