import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { findLost, runWriter } from './commit-queue.killed.js';

t.test('whatever was acknowledged is there after kill -9, and nothing by halves', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'killed-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, 'a.db');
  const acked: number[] = [];
  // The same file each time: every start recovers what the kill before left.
  for (const [round, killAfterAcks] of [1, 120, 400, 900].entries()) {
    const said = await runWriter({
      path,
      firstId: round * 10_000,
      count: 10_000,
      callers: 50,
      killAfterAcks,
    });
    acked.push(...said.acked);
    t.ok(said.acked.length >= killAfterAcks);
    t.notOk(said.closed, 'it was killed');
    t.notOk(said.rebuilt, 'it starts unaided');
    const { lost, torn, stored } = await findLost(path, acked);
    t.same(lost, []);
    t.same(torn, []);
    t.ok(stored >= acked.length);
  }
});
