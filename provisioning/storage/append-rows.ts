/**
 * Stores rows that were gathered for one table. `sqlite3` pays a trip to its thread per statement, so many rows go in one INSERT; the
 * numbers of rows are few and fixed, so that each INSERT is prepared once.
 */
import type { Database } from './database.js';
import type { AppendTable, SqlParams, SqlValue } from './write.js';

/** SQLITE_MAX_VARIABLE_NUMBER of the package's build. */
const maxParams = 32_766;
/** More rows gain no speed, and a prepared statement keeps its parameters until it is used again. */
const maxRows = 512;
/** Up to here every number of rows has an INSERT of its own; above, powers of two. */
export const exactRows = 16;

const inserts = new WeakMap<AppendTable, Map<number, string>>();

/** Inserts the rows in their order. */
export async function appendRows(
  database: Database,
  into: AppendTable,
  rows: readonly SqlParams[],
): Promise<void> {
  const limit = Math.min(maxRows, Math.floor(maxParams / into.columns.length));
  for (let from = 0; from < rows.length; ) {
    const count = chunkSize(Math.min(rows.length - from, limit));
    const params: SqlValue[] = [];
    for (let index = from; index < from + count; index++) {
      const row = rows[index] as SqlParams; // below rows.length
      for (let column = 0; column < row.length; column++) params.push(row[column] as SqlValue);
    }
    await database.run(insertOf(into, count), params);
    from += count;
  }
}

const chunkSize = (rows: number): number =>
  rows <= exactRows ? rows : 2 ** Math.floor(Math.log2(rows));

function insertOf(into: AppendTable, rows: number): string {
  let ofTable = inserts.get(into);
  if (ofTable === undefined) {
    ofTable = new Map();
    inserts.set(into, ofTable);
  }
  let sql = ofTable.get(rows);
  if (sql === undefined) {
    const row = `(${into.columns.map(() => '?').join(',')})`;
    const values = Array.from({ length: rows }, () => row).join(',');
    const verb =
      into.onConflict === undefined ? 'INSERT' : `INSERT OR ${into.onConflict.toUpperCase()}`;
    sql = `${verb} INTO ${into.table} (${into.columns.join(',')}) VALUES ${values}`;
    ofTable.set(rows, sql);
  }
  return sql;
}
