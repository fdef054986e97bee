import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import t from 'tap';
import { checkCampaignModel } from './model-commands.js';

t.setTimeout(1_800_000);

t.test('keeps the laws of campaigns over many runs', { timeout: 1_800_000 }, async (t) => {
  const plan = faultPlan();
  t.comment(plan.description);
  const numRuns = plan.isSlice ? 8 : 200;
  await checkCampaignModel(t, { numRuns, seed: plan.seed, length: 120 });
  t.pass();
});
