import { execFileSync } from 'node:child_process';
import t from 'tap';
import { prepareKillRun, runKilled } from './broker.killed.js';

t.setTimeout(3_600_000);

t.test(
  'killed at each of its writes, nothing acknowledged is lost and QoS 2 stays exactly once',
  { timeout: 3_600_000 },
  async (t) => {
    execFileSync('strace', ['-V'], { stdio: 'ignore' });
    const run = await prepareKillRun();
    t.teardown(() => run.close());
    let points = 0;
    for (const [call, step] of [
      ['pwrite64', 1],
      ['fdatasync', 1],
      ['fsync', 1],
    ] as const) {
      for (let nth = 1; ; nth += step) {
        const under = [
          'strace',
          '-f',
          '-qq',
          '-o',
          '/dev/null',
          '-e',
          `trace=${call}`,
          '-e',
          `inject=${call}:signal=SIGKILL:when=${nth}`,
        ];
        const outcome = await runKilled(run, { under });
        if (outcome.lost.length + outcome.wrong.length > 0)
          t.fail(`killed at ${call} ${nth}`, outcome);
        if (!outcome.wasKilled) break;
        points += 1;
      }
    }
    t.comment(`${points} kill points`);
    t.ok(points >= 200, `${points} kill points`);
  },
);
