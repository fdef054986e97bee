import t from 'tap';
import { prepareKillRun, runKilled } from './broker.killed.js';

t.test(
  'killed with -9 under load, nothing acknowledged is lost and QoS 2 stays exactly once',
  async (t) => {
    const run = await prepareKillRun();
    t.teardown(() => run.close());
    for (const killAfterAcks of [1, 13, 29]) {
      const outcome = await runKilled(run, { killAfterAcks });
      t.match(outcome, { wasKilled: true, lost: [], wrong: [] }, `after ${killAfterAcks}`);
      t.same([outcome.lost, outcome.wrong], [[], []]);
    }
  },
);

t.test('the same in MQTT 5', async (t) => {
  const run = await prepareKillRun();
  t.teardown(() => run.close());
  for (const killAfterAcks of [7, 23]) {
    const outcome = await runKilled(run, { killAfterAcks, version: 5 });
    t.match(outcome, { wasKilled: true }, `after ${killAfterAcks}`);
    t.same([outcome.lost, outcome.wrong], [[], []]);
  }
});

t.test('a broker that acknowledges before it commits is found out', async (t) => {
  const run = await prepareKillRun();
  t.teardown(() => run.close());
  const environment = { HOLDFAST_TEST_ACKNOWLEDGE_EARLY: '1' };
  const { lost } = await runKilled(run, { killAfterAcks: 13, environment });
  t.ok(lost.length > 0, `${lost.length} lost`);
});
