import t from 'tap';
import { installerNames } from './installer.js';
import { finishAfterKills, prepareKillRun } from './kill-run.js';

// A few points for each; `installer-kill.faults.test.ts` takes every one.
const points = { slots: [9, 18, 26], rauc: [20], swupdate: [27], script: [18], flash: [20] };

// A busy machine takes its time.
t.setTimeout(300_000);

for (const name of installerNames) {
  t.test(`${name}: a device that is killed comes back and finishes`, async (t) => {
    t.setTimeout(120_000);
    const run = await prepareKillRun(name, 'good');
    t.teardown(run.close);
    for (const point of points[name]) {
      const { outcome, version, ranHalf, leftovers, kills } = await finishAfterKills(run, [point]);
      t.same(
        { outcome, version, ranHalf, leftovers, kills },
        { outcome: 'succeeded', version: '2.0.0', ranHalf: false, leftovers: 0, kills: 1 },
        `at step ${String(point)}`,
      );
    }
  });
}
