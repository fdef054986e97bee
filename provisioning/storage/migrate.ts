/** Brings a database's schema forward to what this program knows. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Database } from './database.js';

/** One step of a schema. `version` counts from 1 without a hole; what was released is never edited. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/**
 * Runs the steps that are missing, all in one transaction. STORE_VERSION_NEWER names the file and both versions; also refused when a
 * step was run under another name, as then the schema is not the one this program means.
 */
export async function migrate(
  database: Database,
  migrations: readonly Migration[],
  now: number,
): Promise<void> {
  migrations.forEach(({ version, name }, index) => {
    if (version === index + 1) return;
    throw new HoldfastError('INTERNAL', `Migration ${name} is number ${index + 1}, not ${version}`);
  });
  await database.exec('BEGIN IMMEDIATE');
  try {
    await database.exec(`CREATE TABLE IF NOT EXISTS store_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS store_migrations
        (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL) STRICT;`);
    const applied = await database.all<{ version: number; name: string }>(
      'SELECT version, name FROM store_migrations ORDER BY version',
    );
    refuseStrange(database.path, migrations, applied);
    for (const { version, name, sql } of migrations.slice(applied.length)) {
      await database.exec(sql);
      await database.run(
        'INSERT INTO store_migrations (version, name, applied_at) VALUES (?, ?, ?)',
        [version, name, now],
      );
    }
    await database.exec('COMMIT');
  } catch (error) {
    await database.exec('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

function refuseStrange(
  path: string,
  migrations: readonly Migration[],
  applied: readonly { version: number; name: string }[],
): void {
  const newest = applied.at(-1);
  if (newest !== undefined && newest.version > migrations.length) {
    throw new HoldfastError(
      'STORE_VERSION_NEWER',
      `${path} is of version ${newest.version} (${newest.name}), this program knows ${migrations.length}: start the newer program, or restore a backup`,
      { data: { path, version: newest.version, name: newest.name, known: migrations.length } },
    );
  }
  for (const { version, name } of applied) {
    const known = migrations[version - 1]?.name;
    if (known === name) continue;
    throw new HoldfastError(
      'STORE_VERSION_NEWER',
      `${path} ran "${name}" as step ${version}, where this program has "${known}": another program wrote it`,
      { data: { path, version, name, known } },
    );
  }
}
