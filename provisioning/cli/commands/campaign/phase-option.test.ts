import { PhaseJudge } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import t from 'tap';
import { formatPhase, parsePhase } from './phase-option.js';

t.test('reads phases as people type them, and writes them the same', async (t) => {
  t.match(parsePhase('5%:1h'), { percent: 5, durationSeconds: 3_600n, approval: false });
  t.match(parsePhase('50:errors=10/20:24h:success=95%:fleet'), {
    percent: 50,
    durationSeconds: 86_400n,
    successPercent: 95,
    errorPercent: 10,
    errorMinCount: 20,
    judgedBy: PhaseJudge.PHASE_JUDGE_FLEET,
  });
  for (const text of ['5%:1h', '50%:1d:success=95:errors=10/20:fleet', '100%:approve', '0.5%']) {
    t.equal(formatPhase(parsePhase(text)), text);
  }
});

t.test('says what a phase looks like where one cannot be read', async (t) => {
  for (const wrong of ['', 'all', '5%:soon', '5%:success', '5%:success=most', '%:1h']) {
    t.throws(() => parsePhase(wrong), { code: 'REQUEST_INVALID', message: /5%:1h/ }, wrong);
  }
});
