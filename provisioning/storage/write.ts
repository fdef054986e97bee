/**
 * What callers hand to the commit queue: a Write is one change that is stored whole or not at all.
 */

/** Integers are JavaScript numbers (times are epoch ms), blobs come back as Buffer. */
export type SqlValue = string | number | Uint8Array | null;
export type SqlParams = readonly SqlValue[];

/** One SQL statement of a write, run in the order given. */
export interface Statement {
  readonly sql: string;
  readonly params?: SqlParams;
  /** The write fails with STORE_CONFLICT when another number of rows changed: how a decision on a stale row is caught. */
  readonly expectChanges?: number;
}

/** A table that takes rows from many callers; made once, by `appendTable`, and shared: rows are gathered by its identity. */
export interface AppendTable {
  readonly table: string;
  readonly columns: readonly string[];
  readonly onConflict?: 'ignore' | 'replace';
}

/** One row for a table, in the order of its columns. */
export interface Append {
  readonly into: AppendTable;
  readonly row: SqlParams;
}

/**
 * One change. Its parts take effect in order, after those of every write handed in before, with one exception: an append is gathered
 * with those of others into one INSERT of many rows, which runs before the first later statement that names its table, else at the
 * group's end. (A table's name is looked for as it is written. What reaches a table by a trigger or a cascade is not seen.)
 */
export type Write = readonly (Statement | Append)[];

const name = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Declares a table for appends. */
export function appendTable(
  table: string,
  columns: readonly string[],
  options: { readonly onConflict?: 'ignore' | 'replace' } = {},
): AppendTable {
  // The names become part of SQL text; they are ours, and this keeps it so.
  for (const part of [table, ...columns]) {
    if (!name.test(part)) throw new TypeError(`"${part}" cannot name a table or column`);
  }
  return { table, columns: [...columns], ...options };
}

export const isAppend = (part: Statement | Append): part is Append => 'into' in part;
