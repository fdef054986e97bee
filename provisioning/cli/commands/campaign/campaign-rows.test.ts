import { Campaign, CampaignState } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import t from 'tap';
import { pausedText, progressOf, rowOf, stateAtSite } from './campaign-rows.js';

const none = {
  total: 0n,
  queued: 0n,
  inProgress: 0n,
  succeeded: 0n,
  unproven: 0n,
  failed: 0n,
  rolledBack: 0n,
  cancelled: 0n,
  superseded: 0n,
};

t.test('says of a campaign in which nothing was counted why', async (t) => {
  const textOf = (state: CampaignState) => progressOf({ state, progress: none });
  t.equal(textOf(CampaignState.CAMPAIGN_STATE_DRAFT), 'not started');
  t.equal(textOf(CampaignState.CAMPAIGN_STATE_RUNNING), 'no site has reported yet');
  t.match(textOf(CampaignState.CAMPAIGN_STATE_COMPLETED), /^no device matched/);
});

t.test('counts what is over of all', async (t) => {
  const progress = { ...none, total: 12n, queued: 2n, inProgress: 9n, succeeded: 1n };
  t.equal(
    progressOf({ state: CampaignState.CAMPAIGN_STATE_RUNNING, progress }),
    '1 of 12 done · 2 queued · 9 in progress · 1 succeeded',
  );
});

t.test('says who paused it, and why where a reason was given', async (t) => {
  t.equal(pausedText('site:anna', ''), 'paused by site:anna');
  t.equal(pausedText('site', '3 of 9 failed'), 'paused by site: 3 of 9 failed');
});

t.test('says at a site who paused a campaign, and when it is through there', async (t) => {
  const running = { state: 'running', is_settled: false, paused: null };
  t.equal(stateAtSite(running), 'running');
  t.equal(stateAtSite({ ...running, is_settled: true }), 'through');
  t.equal(stateAtSite({ ...running, state: 'cancelling', is_settled: true }), 'cancelled');
  t.equal(
    stateAtSite({ ...running, is_settled: true, paused: { by: 'anna', reason: 'odd' } }),
    'paused by anna: odd',
  );
});

t.test('shows programs words where the wire has numbers', async (t) => {
  const campaign = Campaign.fromJSON({
    state: 'CAMPAIGN_STATE_RUNNING',
    policy: { unprovenCounts: 'UNPROVEN_OUTCOME_FAILURE' },
    phases: [{ state: 'PHASE_STATE_RUNNING', judgedBy: 'PHASE_JUDGE_FLEET' }],
  });
  t.match(rowOf(campaign), {
    state: 'running',
    policy: { unprovenCounts: 'failure' },
    phases: [{ state: 'running', judgedBy: 'fleet' }],
  });
});
