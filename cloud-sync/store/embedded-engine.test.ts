import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PostgresQueryCompiler, SqliteQueryCompiler } from 'kysely';
import t from 'tap';
import { openEmbeddedEngine } from './embedded-engine.js';
import { compileMigrations } from './migration.js';
import { migrations } from './migrations.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const open = async (t: { teardown(end: () => unknown): unknown }) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-engine-'));
  const engine = await openEmbeddedEngine({ path: join(folder, 'cloud.db'), log });
  t.teardown(async () => {
    await engine.close();
    await rm(folder, { recursive: true, force: true });
  });
  return engine;
};
const token = (hash: string) => ({ hash, name: 'n', created_at: 1 });

t.test(
  'a work that fails leaves nothing, and tells nobody; those beside it are stored',
  async (t) => {
    const engine = await open(t);
    const told: string[] = [];
    const good = engine.write(async (tx) => {
      await tx.db.insertInto('tokens').values(token('a')).execute();
      tx.afterCommit(() => told.push('a'));
      return tx.db.selectFrom('tokens').selectAll().execute();
    });
    const bad = engine.write(async (tx) => {
      await tx.db.insertInto('tokens').values(token('b')).execute();
      tx.afterCommit(() => told.push('b'));
      throw new Error('changed my mind');
    });
    const clash = engine.write(async ({ db }) => {
      await db.insertInto('tokens').values(token('c')).execute();
      await db.insertInto('tokens').values(token('a')).execute();
    });
    t.same(await good, [token('a')]);
    await t.rejects(bad, { message: 'changed my mind' });
    await t.rejects(clash, { code: 'STORE_CONSTRAINT' });
    t.same(await engine.read.selectFrom('tokens').select('hash').execute(), [{ hash: 'a' }]);
    t.same(told, ['a']);
  },
);

t.test(
  'says how many rows a statement changed, and returns rows where it is asked to',
  async (t) => {
    const engine = await open(t);
    await engine.write(async ({ db }) => {
      await db
        .insertInto('tokens')
        .values([token('a'), token('b')])
        .execute();
      const repeated = await db
        .insertInto('tokens')
        .values(token('a'))
        .onConflict((c) => c.column('hash').doNothing())
        .executeTakeFirst();
      t.equal(repeated.numInsertedOrUpdatedRows, 0n);
      const updated = await db.updateTable('tokens').set({ name: 'm' }).executeTakeFirst();
      t.equal(updated.numUpdatedRows, 2n);
      const gone = await db
        .deleteFrom('tokens')
        .where('hash', '=', 'b')
        .returning('name')
        .execute();
      t.same(gone, [{ name: 'm' }]);
    });
  },
);

t.test(
  'reads through a connection that cannot write, and takes no transaction of its own',
  async (t) => {
    const engine = await open(t);
    await t.rejects(engine.read.insertInto('tokens').values(token('a')).execute(), {
      code: 'STORE_UNAVAILABLE',
    });
    await t.rejects(
      engine.read.transaction().execute(async () => undefined),
      TypeError,
    );
  },
);

t.test('the schema is the same for both engines, in types that both have', async (t) => {
  const sqlite = compileMigrations(migrations, new SqliteQueryCompiler());
  const postgres = compileMigrations(migrations, new PostgresQueryCompiler());
  t.same(postgres, sqlite);
  for (const { sql } of sqlite) {
    t.notMatch(sql, /autoincrement|blob|datetime|boolean|json\b/i);
  }
});
