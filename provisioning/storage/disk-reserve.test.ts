import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { CommitQueue } from './commit-queue.js';
import { openDatabase } from './database.js';
import { DiskReserve } from './disk-reserve.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

t.test('is given up once, keeps others away, and is made again', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'reserve-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'reserve');
  let now = 0;
  const reserve = await DiskReserve.open(
    { log, monotonic: () => now },
    { path, sizeBytes: 100_000 },
  );
  t.equal((await stat(path)).size, 100_000);
  t.equal(reserve.refusal(), undefined);
  t.equal(await reserve.spend(), true);
  await t.rejects(stat(path), { code: 'ENOENT' });
  t.equal(await reserve.spend(), false);
  t.equal(reserve.refusal()?.code, 'STORE_FULL');
  await t.rejects(stat(path), { code: 'ENOENT' }, 'not looked at with every write');
  now += 10_000;
  t.equal(reserve.refusal()?.code, 'STORE_FULL', 'it looks');
  // Spending waits for what is under way.
  t.equal(await reserve.spend(), true);
});

t.test('a disk that is too small for it takes what is urgent alone', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'reserve-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const reserve = await DiskReserve.open(
    { log, monotonic: () => 0 },
    { path: join(folder, 'reserve'), sizeBytes: Number.MAX_SAFE_INTEGER / 2 },
  );
  const database = await openDatabase({ path: join(folder, 'a.db') });
  await database.exec('CREATE TABLE a (id INTEGER PRIMARY KEY)');
  const commits = new CommitQueue(database, { reserve });
  t.teardown(async () => {
    await commits.close();
    await database.close();
  });
  const insert = (id: number) => [{ sql: 'INSERT INTO a VALUES (?)', params: [id] }];
  await t.rejects(commits.commit(insert(1)), { code: 'STORE_FULL' });
  await commits.commit(insert(2), { isUrgent: true });
  t.same(await database.all('SELECT id FROM a'), [{ id: 2 }]);
});

t.test('an urgent write that is refused for another reason spends nothing', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'reserve-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const database = await openDatabase({ path: join(folder, 'a.db') });
  await database.exec('CREATE TABLE a (id INTEGER PRIMARY KEY)');
  let spent = 0;
  const reserve = { refusal: () => undefined, spend: async () => ++spent > 0 };
  const commits = new CommitQueue(database, { reserve });
  t.teardown(async () => {
    await commits.close();
    await database.close();
  });
  const insert = [{ sql: 'INSERT INTO a VALUES (1)' }];
  await commits.commit(insert, { isUrgent: true });
  await t.rejects(commits.commit(insert, { isUrgent: true }), { code: 'STORE_CONSTRAINT' });
  t.equal(spent, 0);
});

t.test('two urgent writes that meet a full disk at once both have the room', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'reserve-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const reserve = await DiskReserve.open(
    { log, monotonic: () => 0 },
    { path: join(folder, 'reserve'), sizeBytes: 100_000 },
  );
  t.same(await Promise.all([reserve.spend(), reserve.spend()]), [true, true]);
  t.equal(await reserve.spend(), false, 'it is gone');
});

t.test('an urgent write is tried again where another gave the room up meanwhile', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'reserve-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const database = await openDatabase({ path: join(folder, 'a.db') });
  await database.exec('CREATE TABLE a (id INTEGER PRIMARY KEY, bytes BLOB)');
  await database.exec('PRAGMA max_page_count = 4');
  let asked = 0;
  const reserve = {
    refusal: () => undefined,
    spend: async () => {
      asked += 1;
      if (asked === 1) await database.exec('PRAGMA max_page_count = 1000');
      return false;
    },
  };
  const commits = new CommitQueue(database, { reserve });
  t.teardown(async () => {
    await commits.close();
    await database.close();
  });
  const insert = (id: number) => [
    { sql: 'INSERT INTO a VALUES (?, zeroblob(50000))', params: [id] },
  ];
  await commits.commit(insert(1), { isUrgent: true });
  t.same(await database.all('SELECT id FROM a'), [{ id: 1 }]);
  await database.exec('PRAGMA max_page_count = 4');
  await t.rejects(commits.commit(insert(2), { isUrgent: true }), { code: 'STORE_FULL' });
});

t.test('what is left of a reserve that was being made is no room lost', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'reserve-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'reserve');
  await writeFile(`${path}.part`, 'x');
  await DiskReserve.open(
    { log, monotonic: () => 0 },
    { path, sizeBytes: Number.MAX_SAFE_INTEGER / 2 },
  );
  await t.rejects(stat(`${path}.part`), { code: 'ENOENT' });
});
