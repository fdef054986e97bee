/**
 * What the control plane asks of a database. The embedded engine (SQLite) is one; another SQL engine takes its place by offering
 * the same: everything above this file speaks to Kysely in the SQL that both SQLite and PostgreSQL have.
 */
import type { Kysely } from 'kysely';
import type { Schema } from './schema.js';

/** One change under way: stored whole or not at all. */
export interface WriteTransaction {
  /** Reads and writes inside the transaction. Unusable when the work is over. */
  readonly db: Kysely<Schema>;
  /** Runs after the commit and never when it fails; for telling others, not for work that must happen. */
  afterCommit(run: () => void): void;
}

export interface SqlEngine {
  /** Drawn at random when the database was made or made anew: names it among all there ever were. */
  readonly log: string;
  /** Reads what is committed; never writes. Each statement sees a state of its own. */
  readonly read: Kysely<Schema>;
  /**
   * Runs `work` in a transaction and resolves after its commit. Works that are handed in at once may share one commit, each in its own
   * savepoint, and run one after the other. Never await `write` inside. Errors: what `work` throws; STORE_UNAVAILABLE, STORE_FULL.
   */
  write<T>(work: (tx: WriteTransaction) => Promise<T>): Promise<T>;
  /** Set when this start found a damaged database, put it aside and made it anew. */
  readonly rebuilt?: { readonly reason: string; readonly movedTo: string };
  /** Finishes what was handed in. Idempotent. */
  close(): Promise<void>;
}
