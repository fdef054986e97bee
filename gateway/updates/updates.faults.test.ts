/** The power is cut at every commit of a campaign, right before it and right after. */
import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import t from 'tap';
import { checkCut, runCampaign } from './campaign-run-fixture.js';

t.setTimeout(1_800_000);

t.test('comes to the same end wherever the power is cut', { timeout: 1_800_000 }, async (t) => {
  const { commits } = await runCampaign(t);
  t.ok(commits > 30, `${commits} commits to cut at`);
  const plan = faultPlan();
  t.comment(plan.description);
  const cuts = Array.from({ length: commits }, (_, index) => index + 1).flatMap((at) =>
    (['before', 'after'] as const).map((when) => ({ at, when })),
  );
  for (const cut of plan.pick(cuts, 8)) await checkCut(t, cut);
});
