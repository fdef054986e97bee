/** The transaction that `CommitQueue.transact` hands to its work: a savepoint inside the group's transaction. */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Database } from './database.js';
import { isOfOneWrite, storeOne } from './store-writes.js';
import type { SqlParams, Write } from './write.js';

/** What `transact` works with; every call sees what was written before it. Unusable when the work is over. */
export interface Transaction {
  /** Runs a statement that returns no rows. */
  run(sql: string, params?: SqlParams): Promise<{ changes: number }>;
  get<T>(sql: string, params?: SqlParams): Promise<T | undefined>;
  /** Every row; also of a statement with RETURNING. */
  all<T>(sql: string, params?: SqlParams): Promise<T[]>;
  /** A write as the queue takes it, at once and in this transaction. */
  write(write: Write): Promise<void>;
}

export type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/** Runs `work` in its own savepoint. Throws only what fails the whole transaction, as a full disk. */
export async function runInSavepoint<T>(
  database: Database,
  work: (tx: Transaction) => Promise<T>,
  timeoutMs: number,
): Promise<Outcome<T>> {
  await database.run('SAVEPOINT work');
  const scope = new Scope(database);
  const outcome = await withDeadline(() => work(scope.transaction), timeoutMs);
  await scope.end();
  if ('error' in outcome) await database.run('ROLLBACK TO work');
  await database.run('RELEASE work');
  return outcome;
}

/** Runs the calls of one transaction one after the other, and none when it is over. */
class Scope {
  readonly transaction: Transaction;
  #tail: Promise<unknown> = Promise.resolve();
  #isOver = false;
  #fatal: HoldfastError | undefined;

  constructor(database: Database) {
    this.transaction = {
      run: (sql, params) => this.#next(() => database.run(sql, params)),
      get: (sql, params) => this.#next(() => database.get(sql, params)),
      all: (sql, params) => this.#next(() => database.all(sql, params)),
      write: (write) => this.#next(() => storeOne(database, write)),
    };
  }

  /** Waits for the calls under way; throws when one of them failed the transaction, whether or not the work looked. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#tail;
    if (this.#fatal !== undefined) throw this.#fatal;
  }

  #next<T>(call: () => Promise<T>): Promise<T> {
    if (this.#isOver) {
      return Promise.reject(new HoldfastError('INTERNAL', 'This transaction is over'));
    }
    const answer = this.#tail.then(() => {
      if (this.#fatal !== undefined) throw this.#fatal;
      return call();
    });
    this.#tail = answer.catch((error: unknown) => {
      if (isHoldfastError(error) && !isOfOneWrite(error)) this.#fatal ??= error;
    });
    return answer;
  }
}

async function withDeadline<T>(work: () => Promise<T>, timeoutMs: number): Promise<Outcome<T>> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new HoldfastError('DEADLINE_EXCEEDED', `A transaction took over ${timeoutMs} ms`));
    }, timeoutMs);
  });
  try {
    return { value: await Promise.race([work(), deadline]) };
  } catch (error) {
    return { error };
  } finally {
    clearTimeout(timer);
  }
}
