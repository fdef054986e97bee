import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { faultPlan } from '../program/fault-plan.js';
import { findLost, runWriter } from './commit-queue.killed.js';
import { DiskReserve } from './disk-reserve.js';
import { openStore } from './store.js';

t.setTimeout(1_800_000);

const writer = { firstId: 0, count: 120, callers: 10 };
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

async function folderOf(t: { teardown(work: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'faults-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

const oneTable = [{ version: 1, name: 'a', sql: 'CREATE TABLE a (id INTEGER PRIMARY KEY, body)' }];

/** Undefined where it cannot be made. */
function smallDisk(t: Test, folder: string): string | undefined {
  if (process.getuid?.() !== 0) {
    t.comment('a limited tmpfs needs root');
    return undefined;
  }
  const mount = join(folder, 'disk');
  mkdirSync(mount);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', mount]);
  t.teardown(() => void execFileSync('umount', [mount]));
  return mount;
}

const strace = (...args: string[]): string[] => ['strace', '-f', '-qq', '-o', '/dev/null', ...args];

for (const { call, upTo, least } of [
  { call: 'pwrite64', upTo: 120, least: 100 },
  { call: 'fsync', upTo: 24, least: 20 },
]) {
  t.test(
    `killed at each ${call}, nothing acknowledged is lost`,
    { timeout: 1_800_000 },
    async (t) => {
      const folder = await folderOf(t);
      const plan = faultPlan();
      t.comment(plan.description);
      let points = 0;
      for (const nth of plan.ordinals({ upTo, count: 8 })) {
        const path = join(folder, `${nth}.db`);
        const under = strace(
          '-e',
          `trace=${call}`,
          '-e',
          `inject=${call}:signal=SIGKILL:when=${nth}`,
        );
        const said = await runWriter({ ...writer, path, under });
        if (said.closed) break;
        points++;
        // The next start recovers by itself and goes on.
        const after = await runWriter({ path, firstId: 1_000, count: 10, callers: 5 });
        const { lost, torn } = await findLost(path, [...said.acked, ...after.acked]);
        if (lost.length + torn.length > 0 || after.rebuilt || !after.closed) {
          t.fail(`killed at ${call} ${nth}`, { lost, torn, after });
        }
        await rm(path);
      }
      t.comment(`${points} kill points`);
      t.ok(points > (plan.isSlice ? 4 : least), `${points} kill points`);
    },
  );
}

t.test('no acknowledgement leaves before the fsync of its commit', async (t) => {
  const folder = await folderOf(t);
  const trace = join(folder, 'trace');
  const under = ['strace', '-f', '-qq', '-y', '-o', trace, '-e', 'trace=pwrite64,fsync,write'];
  // One caller, so that no other commit is under way when an acknowledgement leaves.
  await runWriter({ path: join(folder, 'a.db'), firstId: 0, count: 50, callers: 1, under });
  let isSynced = false;
  let acks = 0;
  for (const line of (await readFile(trace, 'utf8')).split('\n')) {
    if (/pwrite64\(\d+<[^>]*-wal>/.test(line)) isSynced = false;
    else if (/fsync\(\d+<[^>]*-wal>.*= 0|fsync resumed.*= 0/.test(line)) isSynced = true;
    else if (/ write\(1<.*"acked /.test(line)) {
      acks++;
      if (!isSynced) t.fail(line);
    }
  }
  t.equal(acks, 50);
});

t.test('an fsync that fails fails its writes, and the queue goes on', async (t) => {
  const path = join(await folderOf(t), 'a.db');
  const under = strace('-e', 'trace=fsync', '-e', 'inject=fsync:error=EIO:when=14');
  const said = await runWriter({ ...writer, path, under });
  t.ok(said.closed);
  t.ok(
    said.failed.length > 0 && said.failed.length <= writer.callers,
    `${said.failed.length} failed`,
  );
  t.equal(said.acked.length + said.failed.length, writer.count);
  const { lost, torn } = await findLost(path, said.acked);
  t.same([lost, torn], [[], []]);
});

t.test(
  'on a full disk writes fail with STORE_FULL, reads go on, and room is used again',
  async (t) => {
    const mount = smallDisk(t, await folderOf(t));
    if (mount === undefined) return;
    const path = join(mount, 'a.db');
    const ballast = join(mount, 'ballast');
    await writeFile(ballast, Buffer.alloc(1_000_000));
    const store = await openStore({ path, migrations: oneTable, log: silent });
    t.teardown(() => store.close());
    const insert = (id: number, bytes: number) =>
      store.commits.commit([
        { sql: 'INSERT INTO a VALUES (?, ?)', params: [id, 'x'.repeat(bytes)] },
      ]);

    const outcomes: PromiseSettledResult<void>[] = [];
    for (let group = 0; !outcomes.some(({ status }) => status === 'rejected'); group++) {
      const ids = Array.from({ length: 20 }, (_, index) => group * 20 + index);
      outcomes.push(...(await Promise.allSettled(ids.map((id) => insert(id, 5_000)))));
    }
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    t.ok(refused.every((outcome) => 'reason' in outcome && outcome.reason.code === 'STORE_FULL'));
    const stored = outcomes.flatMap(({ status }, id) => (status === 'fulfilled' ? [id] : []));
    t.same(
      (await store.read.all<{ id: number }>('SELECT id FROM a ORDER BY id')).map(({ id }) => id),
      stored,
    );
    t.comment(
      `${stored.length} stored, ${refused.length} refused, ${(await statfs(mount)).bavail} blocks left`,
    );

    await rm(ballast);
    await insert(1_000_000, 5_000);
    t.match(await store.read.get('SELECT count(*) n FROM a'), { n: stored.length + 1 });
  },
);

t.test('on a full disk an urgent write has room, and nothing else takes it', async (t) => {
  const mount = smallDisk(t, await folderOf(t));
  if (mount === undefined) return;
  let now = 0;
  const reserve = await DiskReserve.open(
    { log: silent, monotonic: () => now },
    { path: join(mount, 'reserve'), sizeBytes: 500_000 },
  );
  const ballast = join(mount, 'ballast');
  await writeFile(ballast, Buffer.alloc(1_500_000));
  const path = join(mount, 'a.db');
  const store = await openStore({ path, migrations: oneTable, log: silent, commits: { reserve } });
  t.teardown(() => store.close());
  const insert = (id: number, bytes: number, isUrgent = false) =>
    store.commits.commit(
      [{ sql: 'INSERT INTO a VALUES (?, ?)', params: [id, 'x'.repeat(bytes)] }],
      { isUrgent },
    );
  let id = 0;
  for (;;) {
    id += 1;
    const refused = await insert(id, 5_000).then(
      () => undefined,
      (error) => error,
    );
    if (refused === undefined) continue;
    t.equal(refused.code, 'STORE_FULL');
    break;
  }
  await t.rejects(insert(id, 50_000), { code: 'STORE_FULL' }, 'it is full, and the room is kept');
  for (let urgent = 0; urgent < 20; urgent++) await insert(100_000 + urgent, 5_000, true);
  await t.rejects(insert(id, 10), { code: 'STORE_FULL' }, 'small as it is');
  await rm(ballast);
  now += 10_000;
  await t.rejects(insert(id, 10), { code: 'STORE_FULL' }, 'it looks whether there is room');
  // The look goes on beside it; an urgent write waits for nothing.
  for (;;) {
    const refused = await insert(id, 10).then(
      () => undefined,
      (error) => error,
    );
    if (refused === undefined) break;
    await stat(mount);
  }
  t.match(await store.read.get('SELECT count(*) n FROM a'), { n: id + 20 });
});
