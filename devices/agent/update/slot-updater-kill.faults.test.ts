import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import t from 'tap';
import { finishAfterKills, prepareKillRun } from './kill-run.js';
import type { AppFixture } from './update-fixture.js';

// Some sixty devices, killed and started again, for each case.
t.setTimeout(600_000);

const cases: readonly { offered: AppFixture; outcome: string; version: string }[] = [
  { offered: { version: '2.0.0' }, outcome: 'succeeded', version: '2.0.0' },
  {
    offered: { version: '2.0.0', script: 'process.exit(1)' },
    outcome: 'rolled_back',
    version: '1.0.0',
  },
];

for (const { offered, outcome, version } of cases) {
  t.test(`killed at every step, and at every step of the way back: ${outcome}`, async (t) => {
    t.setTimeout(600_000);
    const run = await prepareKillRun(offered);
    t.teardown(run.close);
    const { steps } = await finishAfterKills(run, []);
    t.ok(steps > 12, `${String(steps)} steps`);
    const plan = faultPlan();
    t.comment(plan.description);
    const points = Array.from({ length: steps }, (_, index) => index + 1);
    for (const point of plan.pick(points, 4)) {
      const ended = await finishAfterKills(run, [point]);
      t.match(ended, { outcome, version, leftovers: 0 }, `killed at ${String(point)}`);
      if (point % 4 !== 0) continue;
      const twice = await finishAfterKills(run, [point, 4]);
      t.match(twice.leftovers, 0);
      // Two power cuts during the trial use its two starts up, and going back is then right.
      t.ok([outcome, 'rolled_back'].includes(twice.outcome), `killed at ${String(point)} and 4`);
    }
  });
}
