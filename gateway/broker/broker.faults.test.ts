import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import t from 'tap';
import { prepareKillRun, runKilled } from './broker.killed.js';

t.setTimeout(3_600_000);

/** About how many of each the load makes. */
const calls = [
  ['pwrite64', 240],
  ['fdatasync', 1],
  ['fsync', 60],
] as const;

t.test(
  'killed at each of its writes, nothing acknowledged is lost and QoS 2 stays exactly once',
  { timeout: 3_600_000 },
  async (t) => {
    execFileSync('strace', ['-V'], { stdio: 'ignore' });
    const run = await prepareKillRun();
    t.teardown(() => run.close());
    const plan = faultPlan();
    t.comment(plan.description);
    let points = 0;
    for (const [call, upTo] of calls) {
      for (const nth of plan.ordinals({ upTo, count: 5 })) {
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
    t.ok(points >= (plan.isSlice ? 5 : 200), `${points} kill points`);
  },
);

t.test('no PUBACK leaves before the fdatasync of its commit', { timeout: 60_000 }, async (t) => {
  const run = await prepareKillRun();
  t.teardown(() => run.close());
  const trace = `${run.folder}.trace`;
  const calls = 'trace=pwrite64,fsync,fdatasync,write,writev,sendto';
  const under = ['strace', '-f', '-qq', '-y', '-s', '2', '-o', trace, '-e', calls];
  // One message at a time, so that no other commit is under way when an acknowledgement leaves.
  await runKilled(run, { under, lanes: 1 });
  let isSynced = false;
  let acknowledgements = 0;
  for (const line of (await readFile(trace, 'utf8')).split('\n')) {
    // PUBACK is 0x40 0x02, PUBREC 0x50 0x02: "@" and "P" as strace prints them.
    const isAcknowledgement = /(write|writev|sendto)\(\d+<socket:.*"[@P]\\2"/.test(line);
    if (/ pwrite64\(\d+<[^>]*-wal>/.test(line)) isSynced = false;
    else if (/ f(data)?sync\(\d+<[^>]*-wal>\) += 0|f(data)?sync resumed.*= 0/.test(line))
      isSynced = true;
    else if (isAcknowledgement) {
      acknowledgements += 1;
      if (!isSynced) t.fail(line);
    }
  }
  t.ok(acknowledgements >= 40, `${acknowledgements} acknowledgements`);
});
