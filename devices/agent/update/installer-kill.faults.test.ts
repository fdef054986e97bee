import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import t from 'tap';
import type { InstallerName } from './installer.js';
import type { ImageKind } from './installer-world.js';
import { finishAfterKills, prepareKillRun } from './kill-run.js';

// Some hundred devices, killed and started again, for each case.
t.setTimeout(1_800_000);

const cases: readonly {
  readonly name: InstallerName;
  readonly kind: ImageKind;
  readonly outcome: string;
  readonly version: string;
}[] = [
  { name: 'slots', kind: 'good', outcome: 'succeeded', version: '2.0.0' },
  { name: 'slots', kind: 'dead', outcome: 'rolled_back', version: '1.0.0' },
  // The tool and the boot loader of these two are simulated.
  { name: 'rauc', kind: 'good', outcome: 'succeeded', version: '2.0.0' },
  { name: 'rauc', kind: 'sick', outcome: 'rolled_back', version: '1.0.0' },
  { name: 'rauc', kind: 'dead', outcome: 'rolled_back', version: '1.0.0' },
  { name: 'swupdate', kind: 'good', outcome: 'succeeded', version: '2.0.0' },
  { name: 'swupdate', kind: 'sick', outcome: 'rolled_back', version: '1.0.0' },
  { name: 'script', kind: 'good', outcome: 'succeeded', version: '2.0.0' },
  { name: 'script', kind: 'sick', outcome: 'rolled_back', version: '1.0.0' },
  { name: 'script', kind: 'dead', outcome: 'failed', version: '1.0.0' },
  // The board and its boot loader are simulated, and lose their power with the agent.
  { name: 'flash', kind: 'good', outcome: 'succeeded', version: '2.0.0' },
  { name: 'flash', kind: 'sick', outcome: 'rolled_back', version: '1.0.0' },
  { name: 'flash', kind: 'dead', outcome: 'rolled_back', version: '1.0.0' },
];

const plan = faultPlan();
t.comment(plan.description);

for (const { name, kind, outcome, version } of plan.pick(cases, 3)) {
  t.test(`${name}, ${kind}: killed at every step, and at every step of the way back`, async (t) => {
    t.setTimeout(900_000);
    const run = await prepareKillRun(name, kind);
    t.teardown(run.close);
    const { steps } = await finishAfterKills(run, []);
    t.ok(steps > 12, `${String(steps)} steps`);
    const points = Array.from({ length: steps }, (_, index) => index + 1);
    const cuts = name === 'slots' ? (['process'] as const) : (['process', 'power'] as const);
    for (const point of plan.pick(points, 2)) {
      for (const cut of cuts) {
        const ended = await finishAfterKills(run, [point], { cut });
        const at = `${cut} at ${String(point)}`;
        t.match(ended, { outcome, version, ranHalf: false, leftovers: 0 }, at);
        if (point % 4 !== 0) continue;
        const twice = await finishAfterKills(run, [point, 4], { cut });
        t.match(twice, { ranHalf: false, leftovers: 0 }, `${at}, then at 4`);
        // Two cuts during the trial may use its starts up, and going back is then right.
        t.ok(
          [outcome, 'rolled_back'].includes(twice.outcome),
          `${at}, then at 4: ${twice.outcome}`,
        );
      }
    }
  });
}
