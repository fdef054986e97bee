/**
 * The one writer of a database: callers hand in writes, and writes that come while a commit is under way share the next one.
 *
 * Durability costs one fdatasync a commit, so many callers pay for it together. Each write is still stored or refused by itself.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Database } from './database.js';
import type { SqlParams, Write } from './write.js';

export interface CommitQueueOptions {
  /** Writes of one group at most. */
  readonly maxGroupWrites?: number;
  /** Bytes of parameters of one group at most, unless one write alone is larger. */
  readonly maxGroupBytes?: number;
  /** Bytes that wait or are under way from which `room` makes producers wait; at twice as many, `commit` refuses with STORE_OVERLOADED. */
  readonly maxPendingBytes?: number;
  /** How long one `transact` may take, ms, before it is rolled back with DEADLINE_EXCEEDED: everybody's commits wait for it. */
  readonly transactTimeoutMs?: number;
  /** Told once, of the first sign that the file is damaged; from then on the queue refuses every write with STORE_CORRUPT. */
  readonly onDamage?: (error: HoldfastError) => void;
}

/** What `transact` works with; every call sees what was written before it. Unusable when the work is over. */
export interface Transaction {
  run(sql: string, params?: SqlParams): Promise<{ changes: number }>;
  get<T>(sql: string, params?: SqlParams): Promise<T | undefined>;
  all<T>(sql: string, params?: SqlParams): Promise<T[]>;
  /** A write as the queue takes it, at once and in this transaction. */
  write(write: Write): Promise<void>;
}

export class CommitQueue {
  readonly database: Database;

  /** Takes the only connection that writes to the file; the owner closes it after `close`. */
  constructor(database: Database, _options: CommitQueueOptions = {}) {
    this.database = database;
  }

  /**
   * Stores a write. Resolves after the COMMIT that holds it; rejects for this write alone: STORE_CONFLICT (`expectChanges`),
   * STORE_CONSTRAINT, STORE_FULL, STORE_OVERLOADED, STORE_CORRUPT, STORE_UNAVAILABLE (closing, or the disk fails).
   */
  commit(_write: Write): Promise<void> {
    return Promise.reject(new HoldfastError('INTERNAL', 'not yet built'));
  }

  /**
   * Reads and writes in one transaction, for rare, complex changes: the whole queue waits for `work`. It sees every write handed in
   * before it. When `work` throws, what it wrote is rolled back and the error passed on. Never await `commit` or `transact` inside.
   */
  transact<T>(_work: (tx: Transaction) => Promise<T>): Promise<T> {
    return Promise.reject(new HoldfastError('INTERNAL', 'not yet built'));
  }

  /** Resolves as soon as less than `maxPendingBytes` wait. Who reads from outside awaits it before taking in more. */
  room(_signal?: AbortSignal): Promise<void> {
    return Promise.resolve();
  }

  /** Whether `room` would wait now. */
  get isFull(): boolean {
    return false;
  }

  /** Takes nothing more, commits what waits, and resolves. Leaves the database open. Idempotent. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}
