/**
 * Stores the writes of one group inside a transaction that is open. All are tried together first, as nearly always none fails; if one
 * does, the group is undone and stored in parts, each in its savepoint, until the bad write stands alone.
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { appendRows } from './append-rows.js';
import type { Database } from './database.js';
import { storeErrorOf } from './store-error.js';
import { type AppendTable, isAppend, type SqlParams, type Statement, type Write } from './write.js';

export interface Member {
  readonly write: Write;
}

/** What failed, by the write's place in the group. */
export type WriteFailures = Map<number, HoldfastError>;

/** Stores what it can. Throws only what fails the transaction as a whole (the disk, not a row); roll back then. */
export async function storeWrites(
  database: Database,
  writes: readonly Member[],
): Promise<WriteFailures> {
  const failures: WriteFailures = new Map();
  if (writes.length === 0) return failures;
  if ((await storeTogether(database, writes, 0, writes.length)) === undefined) return failures;
  // The transaction goes on: what was written is undone with it, and a new one takes its place.
  await database.run('ROLLBACK');
  await database.run('BEGIN IMMEDIATE');
  await storeParts(database, writes, 0, writes.length, failures);
  return failures;
}

/** Stores one write whole or not at all, inside a transaction that is open; throws its error. */
export async function storeOne(database: Database, write: Write): Promise<void> {
  const failures: WriteFailures = new Map();
  await storeParts(database, [{ write }], 0, 1, failures);
  const failure = failures.get(0);
  if (failure !== undefined) throw failure;
}

/** Whether this error is the fault of one write; any other may have ended the transaction (sqlite.org/lang_transaction.html). */
export const isOfOneWrite = (error: HoldfastError): boolean =>
  error.code === 'STORE_CONFLICT' || error.code === 'STORE_CONSTRAINT' || error.code === 'INTERNAL';

async function storeParts(
  database: Database,
  writes: readonly Member[],
  from: number,
  to: number,
  failures: WriteFailures,
): Promise<void> {
  if (from === to) return;
  await database.run('SAVEPOINT part');
  const failure = await storeTogether(database, writes, from, to);
  if (failure !== undefined) await database.run('ROLLBACK TO part');
  await database.run('RELEASE part');
  if (failure === undefined) return;
  if (to - from === 1) {
    failures.set(from, failure.error);
  } else if (failure.at !== undefined) {
    await storeParts(database, writes, from, failure.at, failures);
    await storeParts(database, writes, failure.at, failure.at + 1, failures);
    await storeParts(database, writes, failure.at + 1, to, failures);
  } else {
    const middle = (from + to) >>> 1;
    await storeParts(database, writes, from, middle, failures);
    await storeParts(database, writes, middle, to, failures);
  }
}

/** `at` is the write at fault where a statement failed; of rows inserted together nobody knows whose it was. */
interface PartFailure {
  readonly at: number | undefined;
  readonly error: HoldfastError;
}

/** What failed, if it may be the fault of one write; throws what fails the transaction as a whole. */
export async function storeTogether(
  database: Database,
  writes: readonly Member[],
  from = 0,
  to = writes.length,
): Promise<PartFailure | undefined> {
  const appends = new Map<AppendTable, SqlParams[]>();
  let at: number | undefined;
  try {
    for (let index = from; index < to; index++) {
      for (const part of (writes[index] as Member).write) {
        if (!isAppend(part)) {
          at = undefined;
          await appendNamed(database, appends, part.sql);
          at = index;
          await runStatement(database, part);
          continue;
        }
        const rows = appends.get(part.into);
        if (rows === undefined) appends.set(part.into, [part.row]);
        else rows.push(part.row);
      }
    }
    at = undefined;
    for (const [into, rows] of appends) await appendRows(database, into, rows);
    return undefined;
  } catch (thrown) {
    const error = isHoldfastError(thrown) ? thrown : storeErrorOf(thrown, 'write');
    if (!isOfOneWrite(error)) throw error;
    return { at, error };
  }
}

/** Stores the rows gathered so far of tables that the statement names: it must find them, or come after them. */
async function appendNamed(
  database: Database,
  appends: Map<AppendTable, SqlParams[]>,
  sql: string,
): Promise<void> {
  for (const [into, rows] of appends) {
    if (!sql.includes(into.table)) continue;
    appends.delete(into);
    await appendRows(database, into, rows);
  }
}

async function runStatement(database: Database, statement: Statement): Promise<void> {
  const { changes } = await database.run(statement.sql, statement.params);
  const expected = statement.expectChanges;
  if (expected !== undefined && changes !== expected) {
    throw new HoldfastError(
      'STORE_CONFLICT',
      `${changes} rows changed, not ${expected} (${statement.sql})`,
      {
        data: { changes, expected },
      },
    );
  }
}
