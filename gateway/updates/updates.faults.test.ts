/** The power is cut at every commit of a campaign, right before it and right after. */
import t from 'tap';
import { checkCut, runCampaign } from './campaign-run-fixture.js';

t.setTimeout(1_800_000);

t.test('comes to the same end wherever the power is cut', { timeout: 1_800_000 }, async (t) => {
  const { commits } = await runCampaign(t);
  t.ok(commits > 30, `${commits} commits to cut at`);
  for (let at = 1; at <= commits; at += 1) {
    for (const when of ['before', 'after'] as const) await checkCut(t, { at, when });
  }
});
