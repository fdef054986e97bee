/** Says in our codes what SQLite said in its own (https://www.sqlite.org/rescode.html). */
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

const codes: Readonly<Record<string, ErrorCode>> = {
  SQLITE_BUSY: 'STORE_UNAVAILABLE',
  SQLITE_CANTOPEN: 'STORE_UNAVAILABLE',
  SQLITE_CONSTRAINT: 'STORE_CONSTRAINT',
  SQLITE_CORRUPT: 'STORE_CORRUPT',
  SQLITE_FULL: 'STORE_FULL',
  SQLITE_IOERR: 'STORE_UNAVAILABLE',
  SQLITE_LOCKED: 'STORE_UNAVAILABLE',
  SQLITE_NOTADB: 'STORE_CORRUPT',
  SQLITE_PERM: 'STORE_UNAVAILABLE',
  SQLITE_READONLY: 'STORE_UNAVAILABLE',
};

/** `data.sqlite` is SQLite's code, as SQLITE_CONSTRAINT; the message holds its text and the statement, never parameters. */
export function storeErrorOf(error: unknown, sql: string): HoldfastError {
  if (isHoldfastError(error)) return error;
  const sqlite = sqliteCodeOf(error);
  const statement = sql.length > 200 ? `${sql.slice(0, 200)}…` : sql;
  const said = `${messageOf(error)} (${statement})`;
  if (sqlite === 'SQLITE_FULL') {
    return new HoldfastError('STORE_FULL', `There is no room left on the disk: ${said}`, {
      cause: error,
      data: { sqlite, next: 'make room on the disk of the data folder, then try again' },
    });
  }
  return new HoldfastError(codes[sqlite] ?? 'INTERNAL', said, { cause: error, data: { sqlite } });
}

const sqliteCodeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
