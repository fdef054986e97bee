/**
 * Migrations that more than one SQL engine can run: written with Kysely's schema builder, compiled to the SQL of one engine.
 *
 * What both SQLite and PostgreSQL have, and nothing else: `text`, `integer`, `bigint` (epoch ms, sequence numbers), `double precision`;
 * truth is an integer 0 or 1, bytes are hexadecimal text, JSON is text. Keys are the program's, never drawn by the database.
 */
import type { Migration } from '@holdfast/provisioning/storage/store';
import {
  type Compilable,
  DummyDriver,
  Kysely,
  type QueryCompiler,
  type SchemaModule,
  SqliteAdapter,
  SqliteIntrospector,
} from 'kysely';

/** One numbered step; what was released is never edited. */
export interface PortableMigration {
  readonly name: string;
  steps(schema: SchemaModule): readonly Compilable[];
}

/** The SQL of one engine, numbered from 1 in the order given. */
export const compileMigrations = (
  migrations: readonly PortableMigration[],
  compiler: QueryCompiler,
): Migration[] => {
  const { schema } = new Kysely<unknown>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => compiler,
    },
  });
  return migrations.map(({ name, steps }, index) => ({
    version: index + 1,
    name,
    sql: steps(schema)
      .map((step) => `${step.compile().sql};`)
      .join('\n'),
  }));
};
