/**
 * The one writer of a database: callers hand in writes, and writes that come while a commit is under way share the next one.
 *
 * Durability costs one fsync a commit, so many callers pay for it together. Each write is still stored or refused by itself.
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Database } from './database.js';
import { type Group, Pending, type PendingTransact, type PendingWrite } from './pending.js';
import { storeErrorOf } from './store-error.js';
import { storeTogether, storeWrites, type WriteFailures } from './store-writes.js';
import { type Outcome, runInSavepoint, type Transaction } from './transaction.js';
import type { Write } from './write.js';

export interface CommitQueueOptions {
  /** Writes of one group at most. */
  readonly maxGroupWrites?: number;
  /** Bytes of parameters of one group at most, unless one write alone is larger. */
  readonly maxGroupBytes?: number;
  /** Bytes that wait or are under way from which `room` makes producers wait; at twice as many, `commit` refuses with STORE_OVERLOADED. */
  readonly maxPendingBytes?: number;
  /** How long one `transact` may take, ms, before it is rolled back with DEADLINE_EXCEEDED: everybody's commits wait for it. */
  readonly transactTimeoutMs?: number;
  /** Room on the disk for urgent writes. */
  readonly reserve?: Reserve;
}

/** What the queue uses of `DiskReserve`. */
export interface Reserve {
  refusal(): HoldfastError | undefined;
  spend(): Promise<boolean>;
}

export interface CommitOptions {
  /** It may use the room that is kept on the disk: for what must not fail because a disk is full. */
  readonly isUrgent?: boolean;
}

/** Failed commits that a group may cost to find out which of its writes can be stored. */
const maxTries = 24;

export class CommitQueue {
  readonly #database: Database;
  readonly #pending: Pending;
  readonly #transactTimeoutMs: number;
  readonly #reserve: Reserve | undefined;
  #running: Promise<void> | undefined;
  #isClosing = false;
  #damage: HoldfastError | undefined;

  /** Takes the only connection that writes to the file; the owner closes it after `close`. */
  constructor(database: Database, options: CommitQueueOptions = {}) {
    this.#database = database;
    this.#transactTimeoutMs = options.transactTimeoutMs ?? 10_000;
    this.#reserve = options.reserve;
    this.#pending = new Pending({
      maxGroupWrites: options.maxGroupWrites ?? 2_048,
      maxGroupBytes: options.maxGroupBytes ?? 2 * 1024 * 1024,
      maxPendingBytes: options.maxPendingBytes ?? 32 * 1024 * 1024,
    });
  }

  /**
   * Stores a write. Resolves after the COMMIT that holds it; rejects for this write alone: STORE_CONFLICT (`expectChanges`),
   * STORE_CONSTRAINT, STORE_FULL, STORE_OVERLOADED, STORE_CORRUPT, STORE_UNAVAILABLE (closing, or the disk fails).
   * Writes are stored in the order of the calls.
   */
  commit(write: Write, { isUrgent = false }: CommitOptions = {}): Promise<void> {
    const reserve = this.#reserve;
    if (reserve === undefined) return this.#add(write);
    if (isUrgent) return this.#addUrgent(write, reserve);
    const full = reserve.refusal();
    return full === undefined ? this.#add(write) : Promise.reject(full);
  }

  /**
   * Reads and writes in one transaction, for rare, complex changes: the whole queue waits for `work`. It sees every write handed in
   * before it. When `work` throws, what it wrote is rolled back and the error passed on. Never await `commit` or `transact` inside:
   * they would wait for this one to end, until its deadline.
   */
  transact<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = async (): Promise<() => void> => {
        const outcome: Outcome<T> = await runInSavepoint(
          this.#database,
          work,
          this.#transactTimeoutMs,
        );
        return 'error' in outcome ? () => reject(outcome.error) : () => resolve(outcome.value);
      };
      const refusal = this.#refusal() ?? this.#pending.addTransact({ run, reject });
      if (refusal === undefined) this.#running ??= this.#run();
      else reject(refusal);
    });
  }

  /** Resolves as soon as less than `maxPendingBytes` wait. Who reads from outside awaits it before taking in more. */
  room(signal?: AbortSignal): Promise<void> {
    return this.#pending.room(signal);
  }

  /** Whether `room` would wait now. */
  get isFull(): boolean {
    return this.#pending.isFull;
  }

  /** Takes nothing more, commits what waits, and resolves. Leaves the database open. Idempotent. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#running;
  }

  async #addUrgent(write: Write, reserve: Reserve): Promise<void> {
    try {
      await this.#add(write);
    } catch (error) {
      if (!isHoldfastError(error, 'STORE_FULL')) throw error;
      // Where it was given up before, that may have been for a write beside this one, after this one was refused.
      await reserve.spend();
      await this.#add(write);
    }
  }

  #add(write: Write): Promise<void> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal() ?? this.#pending.add(write, resolve, reject);
      if (refusal === undefined) this.#running ??= this.#run();
      else reject(refusal);
    });
  }

  #refusal(): HoldfastError | undefined {
    if (this.#damage !== undefined) return this.#damage;
    return this.#isClosing
      ? new HoldfastError('STORE_UNAVAILABLE', 'The store is closing')
      : undefined;
  }

  /** Never rejects: every error goes to the writes it stopped. */
  async #run(): Promise<void> {
    while (!this.#pending.isEmpty) {
      if (this.#damage === undefined && this.#pending.isOneInsert) {
        await this.#insert(this.#pending.take());
        continue;
      }
      const fault = this.#damage ?? (await this.#begin());
      // Taken only now, so that what came during BEGIN shares the group.
      const group = this.#pending.take();
      if (fault === undefined) await this.#commitGroup(group);
      else this.#fail([...group.writes, ...group.transacts], fault);
    }
    this.#running = undefined;
  }

  /**
   * A statement by itself is a transaction: for a few rows of one table, one trip to SQLite's thread instead of three. It saves CPU
   * while little goes on; most of the wait is still the fsync.
   */
  async #insert(group: Group): Promise<void> {
    const failure = await storeTogether(this.#database, group.writes).catch((error) => ({ error }));
    if (failure === undefined) return this.#succeed(group.writes, new Map());
    // SQLite has undone it; whose fault it was shows in a transaction.
    const fault = await this.#begin();
    if (fault === undefined) await this.#commitGroup(group);
    else this.#fail(group.writes, fault);
  }

  /** Settles every member, except that transacts which had not begun when the transaction failed wait again. */
  async #commitGroup({ writes, transacts }: Group): Promise<void> {
    const answers: (() => void)[] = [];
    let begun = 0;
    try {
      const failures = await storeWrites(this.#database, writes);
      for (const transact of transacts) {
        begun++;
        answers.push(await transact.run());
      }
      await this.#database.run('COMMIT');
      this.#succeed(writes, failures);
      for (const answer of answers) answer();
      this.#pending.settled(transacts);
    } catch (thrown) {
      const error = await this.#rollBack(thrown);
      this.#pending.putBack(transacts.slice(begun));
      // What a transact did in memory cannot be undone, so it is not run a second time.
      this.#fail(transacts.slice(0, begun), error);
      const tries = { left: maxTries };
      if (begun > 0) await this.#commitWrites(writes, tries);
      else await this.#commitParts(writes, error, tries);
    }
  }

  async #commitWrites(writes: readonly PendingWrite[], tries: { left: number }): Promise<void> {
    const fault = writes.length === 0 ? undefined : (this.#damage ?? (await this.#begin()));
    if (fault !== undefined) return this.#fail(writes, fault);
    if (writes.length === 0) return;
    try {
      const failures = await storeWrites(this.#database, writes);
      await this.#database.run('COMMIT');
      this.#succeed(writes, failures);
    } catch (thrown) {
      await this.#commitParts(writes, await this.#rollBack(thrown), tries);
    }
  }

  /** Where less may fit, or one write broke a deferred constraint, the halves are tried by themselves. */
  async #commitParts(
    writes: readonly PendingWrite[],
    error: HoldfastError,
    tries: { left: number },
  ): Promise<void> {
    const isDivisible = error.code === 'STORE_FULL' || error.code === 'STORE_CONSTRAINT';
    if (!isDivisible || writes.length <= 1 || tries.left <= 0) return this.#fail(writes, error);
    tries.left--;
    const middle = writes.length >>> 1;
    await this.#commitWrites(writes.slice(0, middle), tries);
    // A full disk is not asked again for each of thousands of writes.
    if (tries.left <= 0) return this.#fail(writes.slice(middle), error);
    await this.#commitWrites(writes.slice(middle), tries);
  }

  async #begin(): Promise<HoldfastError | undefined> {
    try {
      await this.#database.run('BEGIN IMMEDIATE');
      return undefined;
    } catch (error) {
      // Also ends a transaction that a failed ROLLBACK may have left open.
      return await this.#rollBack(error);
    }
  }

  async #rollBack(thrown: unknown): Promise<HoldfastError> {
    const error = storeErrorOf(thrown, 'COMMIT');
    if (error.code === 'STORE_CORRUPT') this.#damage ??= error;
    // A full disk or an I/O error may have ended the transaction already; then this fails, and that is all right.
    await this.#database.run('ROLLBACK').catch(() => undefined);
    return error;
  }

  #succeed(writes: readonly PendingWrite[], failures: WriteFailures): void {
    for (let index = 0; index < writes.length; index++) {
      const { resolve, reject } = writes[index] as PendingWrite; // below writes.length
      const failure = failures.size === 0 ? undefined : failures.get(index);
      if (failure === undefined) resolve();
      else reject(failure);
    }
    this.#pending.settled(writes);
  }

  #fail(entries: readonly (PendingWrite | PendingTransact)[], error: HoldfastError): void {
    for (const entry of entries) entry.reject(error);
    this.#pending.settled(entries);
  }
}
