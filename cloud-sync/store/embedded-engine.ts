/** The embedded engine: SQLite through provisioning/storage, one writer whose commits are grouped, one connection that reads. */
import { openStore, rebuiltReported, type StoreLog } from '@holdfast/provisioning/storage/store';
import { SqliteQueryCompiler } from 'kysely';
import { compileMigrations } from './migration.js';
import { migrations } from './migrations.js';
import type { Schema } from './schema.js';
import type { SqlEngine, WriteTransaction } from './sql-engine.js';
import { kyselyOver } from './statement-dialect.js';

/** How long one write may take: a journal batch of 4 MiB with its effects takes well under a second on a small machine. */
const writeTimeoutMs = 30_000;

export interface EmbeddedEngineOptions {
  readonly path: string;
  readonly log: StoreLog;
}

/** Opens or makes the database. Errors: STORE_VERSION_NEWER, STORE_UNAVAILABLE, STORE_FULL. */
export const openEmbeddedEngine = async ({
  path,
  log,
}: EmbeddedEngineOptions): Promise<SqlEngine> => {
  const store = await openStore({
    path,
    log,
    migrations: compileMigrations(migrations, new SqliteQueryCompiler()),
    commits: { transactTimeoutMs: writeTimeoutMs },
  });
  // The log says it at this start, and the owner does what there is to do.
  if (store.rebuilt !== undefined) await store.commits.commit([rebuiltReported]);
  const write = async <T>(work: (tx: WriteTransaction) => Promise<T>): Promise<T> => {
    const after: (() => void)[] = [];
    const result = await store.commits.transact((statements) => {
      // A work that is run again begins anew.
      after.length = 0;
      const db = kyselyOver<Schema>(statements);
      return work({ db, afterCommit: (run) => after.push(run) });
    });
    for (const run of after) run();
    return result;
  };
  return {
    log: store.log,
    read: kyselyOver<Schema>(store.read),
    write,
    ...(store.rebuilt === undefined ? {} : { rebuilt: store.rebuilt }),
    close: () => store.close(),
  };
};
