/** The program `holdfast-gateway`, killed at its writes while a device keeps it busy; `HOLDFAST_FAULTS_SLICE=1` for some of the points. */
import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import t from 'tap';
import { device } from './faults/enrolled-site.js';
import { findLost } from './faults/kept-promises.js';
import { killPlan } from './faults/kill-plan.js';
import { openKilledSite } from './faults/killed-site.js';
import { SiteLoad } from './faults/site-load.js';
import { type TracedCall, tracedCalls } from './faults/traced-calls.js';

const limitMs = 7_200_000;
t.setTimeout(limitMs);
execFileSync('strace', ['-V'], { stdio: 'ignore' });

/** Kills between two times at which nobody kills it and everything owed is collected. */
const killsAtATime = 4;

t.test(
  'killed at any write, it starts unaided, and nothing it had acknowledged is lost',
  { timeout: limitMs },
  async (t) => {
    const { points, description } = killPlan();
    t.comment(description);
    const site = await openKilledSite();
    const load = new SiteLoad(site);
    t.teardown(async () => {
      load.abandon();
      await site.close();
    });
    const first = await site.start();
    await load.start();
    await first.stop();
    let underLoad = 0;
    for (const [index, point] of points.entries()) {
      const { wasReady } = await site.killAt(point);
      if (wasReady) underLoad += 1;
      const lost = await findLost(site.folder, load);
      if (lost.length > 0) t.fail(`lost when killed at ${point.call} ${point.nth}`, { lost });
      if ((index + 1) % killsAtATime !== 0) continue;
      const gateway = await site.start();
      await load.collect().catch((cause) => {
        throw new Error(`${messageOf(cause)}\n${gateway.stderrTail()}`, { cause });
      });
      await gateway.kill();
    }
    const last = await site.start();
    await load.stop();
    await last.stop();
    t.same(await findLost(site.folder, load), []);
    t.same(load.rejected, []);
    const aside = (await readdir(site.folder)).filter((name) => name.includes('.corrupt'));
    t.same(aside, [], 'no file was ever put aside');
    const twice = [...load.delivered].filter(([at, times]) => at % 2 === 0 && times !== 1);
    t.same(twice, [], 'QoS 2 is delivered exactly once');
    t.comment(`${points.length} kills, ${underLoad} of them after it was ready`);
    t.comment(`${load.acknowledgements} acknowledgements, ${load.delivered.size} queued copies`);
    t.ok(underLoad > points.length / 2);
  },
);

t.test('a gateway that acknowledges before it commits is found out', async (t) => {
  const site = await openKilledSite();
  const load = new SiteLoad(site);
  t.teardown(async () => {
    load.abandon();
    await site.close();
  });
  const first = await site.start();
  await load.start();
  await first.stop();
  const hasty = fileURLToPath(new URL('./faults/hasty-gateway.js', import.meta.url));
  await site.killAt({ call: 'pwrite64', nth: 150 }, hasty);
  const lost = await findLost(site.folder, load);
  t.comment(`${lost.length} lost: ${lost.slice(0, 5).join(', ')}`);
  t.ok(lost.length > 0);
});

t.test('no PUBACK to a device leaves before the fsync of its points', async (t) => {
  const site = await openKilledSite();
  t.teardown(() => site.close());
  const trace = join(site.folder, 'trace');
  const calls = 'trace=pwrite64,fsync,fdatasync,write,writev,sendto';
  const gateway = await site.start(['strace', '-f', '-qq', '-yy', '-o', trace, '-e', calls]);
  const client = site.connect('sender');
  // One after the other, so that no other commit is under way when an acknowledgement leaves.
  for (let seq = 1; seq <= 40; seq += 1) {
    await client.publishAsync(`dt/${device}/telemetry/force`, `${seq}`, { qos: 1 });
  }
  await client.endAsync();
  await gateway.stop();
  const made = tracedCalls(await readFile(trace, 'utf8'));
  const matching = (pattern: RegExp) => made.filter(({ text }) => pattern.test(text));
  const written = matching(/ pwrite64\(\d+<[^>]*telemetry.db-wal>/);
  const synced = matching(/ f(data)?sync\(\d+<[^>]*telemetry.db-wal> *\) += 0$/);
  // In a record of TLS 1.3 a CONNACK or a PUBACK takes 26 bytes, and here nothing else does.
  const [connack, ...acknowledgements] = matching(/ (write|writev|sendto)\(\d+<TCP:.* = 26$/);
  t.equal(acknowledgements.length, 40);
  let before = connack;
  for (const acknowledgement of acknowledgements) {
    const isEarlier = ({ began }: TracedCall): boolean => began < acknowledgement.began;
    const lastWritten = written.findLast(isEarlier)?.began ?? Number.POSITIVE_INFINITY;
    const lastSynced = synced.findLast(({ ended }) => ended < acknowledgement.began)?.ended;
    const isKept = (lastSynced ?? 0) > Math.max(lastWritten, before?.ended ?? 0);
    t.ok(isKept, acknowledgement.text);
    before = acknowledgement;
  }
});
