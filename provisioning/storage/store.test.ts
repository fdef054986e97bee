import { mkdtemp, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { putAside } from './damage.js';
import { openDatabase } from './database.js';
import {
  type Migration,
  openStore,
  rebuiltReported,
  type Store,
  type StoreOptions,
} from './store.js';

const migrations: readonly Migration[] = [
  {
    version: 1,
    name: 'things',
    sql: 'CREATE TABLE things (id INTEGER PRIMARY KEY, body TEXT) STRICT',
  },
];
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

async function folderOf(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'store-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

async function openIn(folder: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  return openStore({ path: join(folder, 'site.db'), migrations, log: silent, ...options });
}

/** Stores `count` rows of a kilobyte, so that the file has pages to damage. */
async function fill(store: Store, count: number): Promise<void> {
  const body = 'x'.repeat(1_000);
  const commits = Array.from({ length: count }, (_, id) =>
    store.commits.commit([{ sql: 'INSERT INTO things VALUES (?, ?)', params: [id, body] }]),
  );
  await Promise.all(commits);
}

async function overwrite(path: string, at: number, bytes: Buffer): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, at);
  await file.close();
}

t.test('keeps its rows and its log over a close', async (t) => {
  const folder = await folderOf(t);
  const first = await openIn(folder);
  await fill(first, 3);
  t.match(first.log, /^[0-9a-f]{32}$/);
  await Promise.all([first.close(), first.close()]);
  t.same(await readdir(folder), ['site.db'], 'a clean stop leaves no journal');
  const second = await openIn(folder);
  t.teardown(() => second.close());
  t.equal(second.log, first.log);
  t.equal(second.rebuilt, undefined);
  t.same(await second.read.get('SELECT count(*) n FROM things'), { n: 3 });
});

t.test('the read connection changes nothing and sees what is committed', async (t) => {
  const store = await openIn(await folderOf(t));
  t.teardown(() => store.close());
  await fill(store, 1);
  t.same(await store.read.all('SELECT id FROM things'), [{ id: 0 }]);
  await t.rejects(store.read.run('DELETE FROM things'), { code: 'STORE_UNAVAILABLE' });
  await store.commits.commit([{ sql: 'DELETE FROM things' }]);
  t.same(await store.read.all('SELECT id FROM things'), [], 'no statement holds an old view open');
});

t.test('migrates forward, each step once', async (t) => {
  const folder = await folderOf(t);
  await (await openIn(folder)).close();
  const more = [
    ...migrations,
    {
      version: 2,
      name: 'size',
      sql: 'ALTER TABLE things ADD COLUMN size INTEGER; INSERT INTO things VALUES (7, NULL, 1)',
    },
  ];
  await (await openIn(folder, { migrations: more })).close();
  const store = await openIn(folder, { migrations: more });
  t.teardown(() => store.close());
  t.same(await store.read.all('SELECT id, size FROM things'), [{ id: 7, size: 1 }]);
});

t.test('a migration that fails leaves the version before', async (t) => {
  const folder = await folderOf(t);
  await (await openIn(folder)).close();
  const bad = [
    ...migrations,
    { version: 2, name: 'bad', sql: 'CREATE TABLE fine (a); CREATE TABLE things (a)' },
  ];
  await t.rejects(openIn(folder, { migrations: bad }), {
    code: 'INTERNAL',
    message: /already exists/,
  });
  const store = await openIn(folder);
  t.teardown(() => store.close());
  t.same(await store.read.all("SELECT name FROM sqlite_schema WHERE name = 'fine'"), []);
});

t.test('refuses a database of a newer version by name, and leaves it as it is', async (t) => {
  const folder = await folderOf(t);
  const more = [...migrations, { version: 2, name: 'sizes', sql: 'CREATE TABLE sizes (a)' }];
  await (await openIn(folder, { migrations: more })).close();
  const before = await readFile(join(folder, 'site.db'));
  await t.rejects(openIn(folder), {
    code: 'STORE_VERSION_NEWER',
    message: /site\.db is of version 2 \(sizes\), this program knows 1/,
  });
  t.same(await readFile(join(folder, 'site.db')), before);
  const strange = [{ version: 1, name: 'other', sql: 'CREATE TABLE other (a)' }, ...more.slice(1)];
  await t.rejects(openIn(folder, { migrations: strange }), {
    code: 'STORE_VERSION_NEWER',
    message: /ran "things"/,
  });
});

t.test('migrations that are not numbered from 1 without a hole are a mistake', async (t) => {
  const gap = [...migrations, { version: 3, name: 'x', sql: 'SELECT 1' }];
  await t.rejects(openIn(await folderOf(t), { migrations: gap }), { code: 'INTERNAL' });
});

t.test('puts aside a file that is no database, tells, and makes a new one', async (t) => {
  const folder = await folderOf(t);
  const path = join(folder, 'site.db');
  const garbage = Buffer.alloc(8_192, 'garbage');
  await writeFile(path, garbage);
  await writeFile(`${path}-wal`, 'w');
  const told: object[] = [];
  const now = () => Date.UTC(2025, 0, 2, 3, 4, 5, 6);
  const store = await openIn(folder, { now, log: { ...silent, error: (data) => told.push(data) } });
  t.teardown(() => store.close());
  const movedTo = `${path}.corrupt-20250102T030405.006Z`;
  t.match(store.rebuilt, { movedTo, reason: /not a database/ });
  t.match(told, [{ movedTo }]);
  t.same(await readFile(movedTo), garbage, 'nothing is deleted');
  await fill(store, 1);
});

t.test('that a file was made anew is said at every open until it is reported', async (t) => {
  const folder = await folderOf(t);
  const path = join(folder, 'site.db');
  const before = await openIn(folder);
  await before.close();
  // Killed between the old file's going and the new one's coming.
  const movedTo = await putAside(path, 'a bad page', 0);
  for (let start = 0; start < 2; start += 1) {
    const store = await openIn(folder);
    t.same(store.rebuilt, { reason: 'a bad page', movedTo });
    await store.close();
  }
  const reporting = await openIn(folder);
  await reporting.commits.commit([rebuiltReported]);
  await reporting.close();
  const after = await openIn(folder);
  t.teardown(() => after.close());
  t.equal(after.rebuilt, undefined);
});

t.test('a database rebuilt has another log', async (t) => {
  const folder = await folderOf(t);
  const first = await openIn(folder);
  await first.close();
  await overwrite(join(folder, 'site.db'), 0, Buffer.alloc(4_096, 1));
  const second = await openIn(folder);
  t.teardown(() => second.close());
  t.ok(second.rebuilt);
  t.not(second.log, first.log);
});

t.test(
  'a damaged page found in use is reported once, and the file is put aside on the next open',
  async (t) => {
    const folder = await folderOf(t);
    const path = join(folder, 'site.db');
    const before = await openIn(folder);
    await fill(before, 100);
    await before.close();
    // The root page of `things` lies behind those of the store's own tables: damage the latter half of the file.
    await overwrite(path, 12 * 4_096, Buffer.alloc(10 * 4_096, 0xff));

    const reports: string[] = [];
    const store = await openIn(folder, { onDamage: ({ code }) => reports.push(code) });
    t.equal(store.rebuilt, undefined, 'a clean stop is not checked');
    const sweep = { sql: "UPDATE things SET body = 'y'" };
    const good = { sql: 'INSERT INTO things (id) VALUES (1000)' };
    t.match(await Promise.allSettled([store.commits.commit([sweep])]), [
      { reason: { code: 'STORE_CORRUPT' } },
    ]);
    await t.rejects(store.commits.commit([good]), { code: 'STORE_CORRUPT' }, 'takes no more');
    await t.rejects(store.read.all('SELECT body FROM things'), { code: 'STORE_CORRUPT' });
    t.same(reports, ['STORE_CORRUPT']);
    await store.close();

    const after = await openIn(folder);
    t.teardown(() => after.close());
    t.match(after.rebuilt, { reason: /integrity_check/ });
    t.same(await after.read.get('SELECT count(*) n FROM things'), { n: 0 });
    await after.commits.commit([rebuiltReported]);
    await after.close();
    const third = await openIn(folder);
    t.equal(third.rebuilt, undefined, 'the mark is gone');
    await third.close();
  },
);

t.test('a damaged page is found on open when the stop was not clean', async (t) => {
  const folder = await folderOf(t);
  const path = join(folder, 'site.db');
  const before = await openIn(folder);
  await fill(before, 100);
  await before.close();
  await overwrite(path, 12 * 4_096, Buffer.alloc(10 * 4_096, 0xff));
  await writeFile(`${path}-wal`, Buffer.alloc(32));
  const after = await openIn(folder);
  t.teardown(() => after.close());
  t.match(after.rebuilt, { reason: /quick_check/ });
});

t.test(
  'a journal whose database was already put aside does not flow into the new one',
  async (t) => {
    const folder = await folderOf(t);
    const path = join(folder, 'site.db');
    const crashed = await openDatabase({ path });
    await crashed.exec('CREATE TABLE things (id); INSERT INTO things VALUES (1)');
    const wal = await readFile(`${path}-wal`);
    await crashed.close();
    await rename(path, `${path}.corrupt-before`);
    await writeFile(`${path}-wal`, wal);
    const store = await openIn(folder);
    t.teardown(() => store.close());
    t.match(store.rebuilt, { reason: /only its journal/ });
    t.same(await store.read.get('SELECT count(*) n FROM things'), { n: 0 });
    const aside = (await readdir(folder)).filter((name) => /corrupt-.*-wal$/.test(name));
    t.equal(aside.length, 1);
  },
);
