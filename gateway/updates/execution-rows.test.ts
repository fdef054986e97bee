import t from 'tap';
import { policyOf } from './campaign.js';
import { next } from './execution.js';
import { decisionWrite } from './execution-rows.js';
import { type Execution, newExecution, type ReportedStatus } from './execution-state.js';
import { campaignBody, firmwareBody } from './updates-fixture.js';

const campaign = { id: 'c', body: campaignBody(), images: [firmwareBody()] };

t.test('a device that goes back and forth for ever does not fill the journal', async (t) => {
  const policy = policyOf(campaign);
  let state: Execution = newExecution('2', 'pi@2');
  let told = 0;
  const take = (event: Parameters<typeof next>[1]): number => {
    const decision = next(state, event, policy, 0);
    const write = decisionWrite(campaign, 'd', state, decision, { at: 0, ahead: 0 });
    state = decision.state;
    const entries = write.filter(
      (part) => 'into' in part && part.into.table === 'journal_state',
    ).length;
    told += entries;
    return entries;
  };
  const say = (status: ReportedStatus) => take({ type: 'reported', door: 'native', status });
  take({ type: 'offer', door: 'native', boot: 'b', version: '1' });
  for (let i = 0; i < 3_000; i += 1) {
    say('downloading');
    say('verifying');
  }
  t.ok(told > 500 && told < 1_100, `${told}`);
  t.equal(say('installing'), 1, 'that it gets further is told');
  t.equal(say('rolled_back'), 1);
});
