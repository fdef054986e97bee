import t from 'tap';
import { finishAfterKills, type KillRun, prepareKillRun } from './kill-run.js';

// A few points, one of each kind; `slot-updater-kill.faults.test.ts` takes every one.
const points = [3, 9, 15, 18, 22, 26];

t.test('a device that is killed comes back and finishes', async (t) => {
  const run: KillRun = await prepareKillRun({ version: '2.0.0' });
  t.teardown(run.close);
  for (const point of points) {
    const { outcome, version, leftovers } = await finishAfterKills(run, [point]);
    t.same(
      { outcome, version, leftovers },
      { outcome: 'succeeded', version: '2.0.0', leftovers: 0 },
      `at step ${String(point)}`,
    );
  }
});
