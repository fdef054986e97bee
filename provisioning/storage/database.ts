/**
 * The one place that knows the `sqlite3` package: a connection with promises, cached prepared statements and errors of ours.
 *
 * `synchronous=FULL` makes a COMMIT wait for the WAL's fsync. A statement is prepared once and each call waits for its own
 * answer: inside `db.serialize` a prepared statement of this package bypasses the order, so `serialize` is not used.
 */
import { once } from 'node:events';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import sqlite3 from 'sqlite3';
import { storeErrorOf } from './store-error.js';
import type { SqlParams } from './write.js';

export interface DatabaseOptions {
  readonly path: string;
  /** Refuses every change on this connection; the file must exist. */
  readonly readOnly?: boolean;
  /** How long a statement waits for another process's lock, ms. */
  readonly busyTimeoutMs?: number;
  /** Told of every statement that failed with STORE_CORRUPT. */
  readonly onDamage?: (error: HoldfastError) => void;
}

/** Prepared statements kept a connection; the least recently used goes first. */
const maxCachedStatements = 512;

/** One connection. `run`, `get` and `all` take one statement, `exec` a script without parameters. */
export class Database {
  readonly path: string;
  readonly #handle: sqlite3.Database;
  readonly #cache = new Map<string, sqlite3.Statement>();
  /** What has yet to be prepared or thrown away: a connection with such a statement cannot be closed. */
  readonly #unsettled = new Set<Promise<unknown>>();
  readonly #onDamage: ((error: HoldfastError) => void) | undefined;
  #closing: Promise<void> | undefined;

  /** Use `openDatabase`. */
  constructor(options: DatabaseOptions, handle: sqlite3.Database) {
    this.path = options.path;
    this.#onDamage = options.onDamage;
    this.#handle = handle;
  }

  /** Runs a statement that returns no rows; `changes` is the number of rows inserted, updated or deleted. */
  async run(sql: string, params: SqlParams = []): Promise<{ changes: number }> {
    const statement = this.#cache.get(sql) ?? (await this.#prepare(sql));
    const errorOf = (error: Error): HoldfastError => this.#errorOf(error, sql);
    return new Promise((resolve, reject) => {
      statement.run(params, function (error) {
        if (error) reject(errorOf(error));
        else resolve({ changes: this.changes });
      });
    });
  }

  /** The first row, or undefined. `T` is what the caller's SQL selects; nothing checks it. */
  async get<T>(sql: string, params: SqlParams = []): Promise<T | undefined> {
    // Not the package's `get`: it leaves the cursor open, and with it a read transaction that holds up every checkpoint.
    return (await this.all<T>(sql, params))[0];
  }

  /** Every row. `T` is what the caller's SQL selects; nothing checks it. Also runs a statement with RETURNING. */
  async all<T>(sql: string, params: SqlParams = []): Promise<T[]> {
    const statement = this.#cache.get(sql) ?? (await this.#prepare(sql));
    return new Promise((resolve, reject) => {
      statement.all<T>(params, (error, rows) => {
        if (error) reject(this.#errorOf(error, sql));
        else resolve(rows);
      });
    });
  }

  /** Runs a script of statements; stops at the first that fails. */
  exec(script: string): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closing) return reject(closed(this.path));
      this.#handle.exec(script, (error) => {
        if (error) reject(this.#errorOf(error, script));
        else resolve();
      });
    });
  }

  /** Closes after the statements under way; of the last connection it also empties and removes the WAL. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#unsettled);
    await Promise.all([...this.#cache.values()].map(finalize));
    this.#cache.clear();
    await new Promise<void>((resolve, reject) => {
      this.#handle.close((error) => (error ? reject(this.#errorOf(error, 'close')) : resolve()));
    });
  }

  async #prepare(sql: string): Promise<sqlite3.Statement> {
    if (this.#closing) throw closed(this.path);
    return this.#settle(this.#prepareAnew(sql));
  }

  async #prepareAnew(sql: string): Promise<sqlite3.Statement> {
    const statement = await new Promise<sqlite3.Statement>((resolve, reject) => {
      const prepared = this.#handle.prepare(sql, (error) => {
        if (error) reject(this.#errorOf(error, sql));
        else resolve(prepared);
      });
    });
    const other = this.#cache.get(sql);
    if (other !== undefined || this.#closing !== undefined) {
      await finalize(statement);
      if (other === undefined) throw closed(this.path);
      return other;
    }
    this.#cache.set(sql, statement);
    if (this.#cache.size > maxCachedStatements) this.#evict();
    return statement;
  }

  #errorOf(error: Error, sql: string): HoldfastError {
    const known = storeErrorOf(error, sql);
    if (known.code === 'STORE_CORRUPT') this.#onDamage?.(known);
    return known;
  }

  #evict(): void {
    for (const [sql, statement] of this.#cache) {
      this.#cache.delete(sql);
      // Queued behind the statement's own calls by the package; it fails in no way that matters.
      void this.#settle(finalize(statement));
      return;
    }
  }

  async #settle<T>(work: Promise<T>): Promise<T> {
    this.#unsettled.add(work);
    try {
      return await work;
    } finally {
      this.#unsettled.delete(work);
    }
  }
}

/** Opens a connection; a file that is missing is created unless `readOnly`. STORE_CORRUPT when it is no database. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const { path, readOnly = false, busyTimeoutMs = 5_000 } = options;
  const mode = readOnly ? sqlite3.OPEN_READONLY : sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE;
  const handle = new sqlite3.Database(path, mode);
  try {
    await once(handle, 'open');
  } catch (error) {
    throw storeErrorOf(error, `open ${path}`);
  }
  const database = new Database(options, handle);
  try {
    await database.exec(`PRAGMA busy_timeout = ${Math.trunc(busyTimeoutMs)};
      PRAGMA foreign_keys = ON;
      PRAGMA trusted_schema = OFF;
      ${readOnly ? 'PRAGMA query_only = ON;' : 'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;'}`);
  } catch (error) {
    await database.close();
    throw error;
  }
  return database;
}

const finalize = (statement: sqlite3.Statement): Promise<void> =>
  new Promise((resolve) => statement.finalize(() => resolve()));

const closed = (path: string): HoldfastError =>
  new HoldfastError('STORE_UNAVAILABLE', `${path} is closed`);
