import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { faultPlan } from '@holdfast/provisioning/program/fault-plan';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t from 'tap';
import { applySiteFile } from './apply.js';
import {
  appliedIn,
  enrolledFolder,
  gatewayBin,
  quietYaml,
  silent,
  startGateway,
} from './test-site-gateway.js';

t.setTimeout(600_000);

const before = quietYaml();
const after = quietYaml('telemetry: {budgetBytes: 2000000}\n');

const apply = (dataDir: string, text: string) =>
  applySiteFile(
    { log: silent },
    { file: { name: 'site.yaml', text }, dataDir, by: 'anna', isDryRun: false },
  );

/** True when it was killed at the n-th of the calls by which something comes to be on disk. */
const applyKilledAt = (dataDir: string, file: string, when: number): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const inject = `inject=fsync,fdatasync,rename,pwrite64:signal=SIGKILL:when=${when}`;
    const args = ['-f', '-qq', '-o', '/dev/null', '-e', inject];
    const program = [process.execPath, gatewayBin, 'apply', file, '--data', dataDir];
    const { NODE_OPTIONS: _, ...env } = process.env;
    execFile(
      'strace',
      [...args, ...program],
      { env: { ...env, UV_THREADPOOL_SIZE: '1' } },
      (error, _stdout, stderr) => {
        if (error === null) resolve(false);
        else if (error.signal === 'SIGKILL' || error.code === 137) resolve(true);
        else reject(new Error(stderr));
      },
    );
  });

t.test('apply that is killed at any write leaves the old or the new file', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-apply-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const [start, file] = [join(folder, 'start'), join(folder, 'site.yaml')];
  await apply(start, before);
  await (await appliedIn(start)).attempt();
  await (await appliedIn(start)).confirm(1);
  await writeFile(file, after);
  const seen = new Set<string>();
  let kills = 0;
  const { isSlice, ordinals, description } = faultPlan();
  t.comment(description);
  const some = ordinals({ upTo: 16, count: 4 });
  // Of a slice the first write, and one that is never reached, too.
  for (const when of isSlice ? [1, ...some, 10_000] : some) {
    const dataDir = join(folder, `at-${when}`);
    await cp(start, dataDir, { recursive: true });
    const wasKilled = await applyKilledAt(dataDir, file, when);
    const applied = await appliedIn(dataDir);
    await applied.attempt();
    const text = (await applied.text())?.text ?? 'nothing';
    t.ok(text === before || text === after, `write ${when}: the old or the new`);
    seen.add(text);
    await rm(dataDir, { recursive: true });
    if (!wasKilled) break;
    kills += 1;
  }
  t.ok(kills >= (isSlice ? 2 : 5), `${kills} writes`);
  t.equal(seen.size, 2, 'both were seen');
});

t.test(
  'a gateway that is killed in the middle starts healthy with the old or the new',
  async (t) => {
    const folder = await enrolledFolder(t);
    await apply(folder, before);
    let gateway = await startGateway(t, folder);
    const { pick, description } = faultPlan();
    t.comment(description);
    const delaysMs = pick(
      Array.from({ length: 24 }, (_, index) => index * 25),
      2,
    );
    for (const [round, delayMs] of delaysMs.entries()) {
      const wanted = round % 2 === 0 ? after : before;
      // Nobody waits for its verdict any more.
      const applying = apply(folder, wanted).catch(() => undefined);
      await waitUntil('the trial', async () => (await appliedIn(folder)).onTrial !== undefined, {
        everyMs: 5,
        deadlineMs: 5_000,
      }).catch(() => undefined);
      await pause(delayMs);
      await gateway.kill();
      gateway = await startGateway(t, folder);
      await applying;
      const running = JSON.parse(await readFile(join(folder, 'running.json'), 'utf8'));
      const { budgetBytes } = running.configuration.telemetry;
      t.ok(
        [2_000_000, 1_073_741_824].includes(budgetBytes),
        `killed after ${delayMs} ms: ${budgetBytes}`,
      );
    }
  },
);
