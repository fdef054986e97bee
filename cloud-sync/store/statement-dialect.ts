/** A Kysely dialect over anything that runs single statements: the read connection, or one transaction of the commit queue. */
import type { SqlValue } from '@holdfast/provisioning/storage/write';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';

/** Both `Database` and `Transaction` of provisioning/storage are one. */
export interface StatementRunner {
  run(sql: string, params?: readonly SqlValue[]): Promise<{ changes: number }>;
  all<T>(sql: string, params?: readonly SqlValue[]): Promise<T[]>;
}

/** Speaks SQLite's SQL through `runner`. It begins no transaction: who made the runner has. */
export const kyselyOver = <Schema>(runner: StatementRunner): Kysely<Schema> =>
  new Kysely<Schema>({ dialect: dialectOver(runner) });

const dialectOver = (runner: StatementRunner): Dialect => ({
  createAdapter: () => new SqliteAdapter(),
  createDriver: () => driverOver(runner),
  createIntrospector: (db) => new SqliteIntrospector(db),
  createQueryCompiler: () => new SqliteQueryCompiler(),
});

const driverOver = (runner: StatementRunner): Driver => {
  const connection = connectionOver(runner);
  return {
    init: async () => undefined,
    acquireConnection: async () => connection,
    beginTransaction: noTransaction,
    commitTransaction: noTransaction,
    rollbackTransaction: noTransaction,
    releaseConnection: async () => undefined,
    destroy: async () => undefined,
  };
};

const noTransaction = async (): Promise<never> => {
  throw new TypeError('transactions are begun by SqlEngine.write, never by Kysely');
};

const connectionOver = (runner: StatementRunner): DatabaseConnection => ({
  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const params = query.parameters.map(toSqlValue);
    if (returnsRows(query)) return { rows: await runner.all<R>(query.sql, params) };
    const { changes } = await runner.run(query.sql, params);
    return { rows: [], numAffectedRows: BigInt(changes) };
  },
  // biome-ignore lint/correctness/useYield: it never has a row to yield
  async *streamQuery(): AsyncIterableIterator<never> {
    throw new TypeError('read pages instead of a stream: a stream would hold the connection');
  },
});

const returnsRows = ({ query }: CompiledQuery): boolean => {
  switch (query.kind) {
    case 'SelectQueryNode':
    case 'RawNode':
      return true;
    case 'InsertQueryNode':
    case 'UpdateQueryNode':
    case 'DeleteQueryNode':
      return query.returning !== undefined;
    default:
      return false;
  }
};

const toSqlValue = (value: unknown): SqlValue => {
  if (value === null || typeof value === 'string' || value instanceof Uint8Array) return value;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new TypeError(
    `a ${typeof value} cannot be a parameter: both engines take text and numbers`,
  );
};
