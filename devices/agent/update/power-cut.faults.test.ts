import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import t from 'tap';
import type { ImageKind } from './installer-world.js';
import { finishAfterKills, prepareKillRun } from './kill-run.js';

// A device for every write of an update, cut off there and started again.
t.setTimeout(1_800_000);

const cases: readonly { kind: ImageKind; outcome: string; version: string }[] = [
  { kind: 'good', outcome: 'succeeded', version: '2.0.0' },
  { kind: 'dead', outcome: 'rolled_back', version: '1.0.0' },
];
const module = new URL('power-cut.js', import.meta.url).href;

for (const { kind, outcome, version } of cases) {
  t.test(`slots, ${kind}: the power is cut at every write of an update`, async (t) => {
    t.setTimeout(900_000);
    const run = await prepareKillRun('slots', kind);
    t.teardown(run.close);
    const cutAt = (at: number) =>
      finishAfterKills(run, at === 0 ? [] : [0], {
        preload: { module, environment: { HOLDFAST_TEST_CUT_AT: String(at) } },
      });
    const { lines } = await cutAt(0);
    const writes = Number(lines.findLast((line) => line.startsWith('writes'))?.split(' ')[1]);
    t.ok(writes > 60, `${String(writes)} writes`);
    const plan = faultPlan();
    t.comment(plan.description);
    const points = Array.from({ length: writes }, (_, index) => index + 1);
    for (const point of plan.pick(points, 6)) {
      const ended = await cutAt(point);
      t.match(
        ended,
        { outcome, version, ranHalf: false, leftovers: 0, kills: 1 },
        `cut at write ${String(point)}`,
      );
    }
  });
}
