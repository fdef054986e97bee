/**
 * A database file with a schema of ours: migrated forward on open, refused when a newer program wrote it, put aside and made anew
 * when it is damaged.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { CommitQueue, CommitQueueOptions } from './commit-queue.js';
import type { Database } from './database.js';

/** One step of a schema. `version` counts from 1 without a hole; what was released is never edited. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/** The part of a logger (pino's signature) that the store uses. */
export interface StoreLog {
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
  error(data: object, message: string): void;
}

export interface StoreOptions {
  readonly path: string;
  readonly migrations: readonly Migration[];
  readonly log: StoreLog;
  readonly now?: () => number;
  /** Told once when the file turns out damaged while in use. Writes fail from then on; the next open puts the file aside. */
  readonly onDamage?: (error: HoldfastError) => void;
  readonly commits?: Omit<CommitQueueOptions, 'onDamage'>;
}

export interface Store {
  /** A connection that only reads: sees what is committed. */
  readonly read: Database;
  readonly commits: CommitQueue;
  /** 128 random bits in hexadecimal, drawn when the file was made or made anew. */
  readonly log: string;
  /** Set when this open found a damaged file: why, and where it lies now. The owner reports it. */
  readonly rebuilt?: { readonly reason: string; readonly movedTo: string };
  /** Drains the commit queue and closes both connections. Idempotent. */
  close(): Promise<void>;
}

/** Opens or makes the file. STORE_VERSION_NEWER; STORE_UNAVAILABLE and STORE_FULL as the disk says. */
export async function openStore(_options: StoreOptions): Promise<Store> {
  throw new HoldfastError('INTERNAL', 'not yet built');
}
