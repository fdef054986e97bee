import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deltaFormat } from '@holdfast/provisioning/delta/delta-format';
import { encodeDelta } from '@holdfast/provisioning/delta/encode-delta';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import t, { type Test } from 'tap';
import { silentLog } from '../log.js';
import { openSlotUpdater } from './slot-updater.js';
import {
  type AppFixture,
  makeArchive,
  makeDirectory,
  makeJob,
  plainRelease,
  serveFirmware,
} from './update-fixture.js';
import type { UpdateReport } from './updater.js';

// Applications are started and stopped many times; a busy machine takes its time.
t.setTimeout(300_000);

const one: AppFixture = { version: '1.0.0' };

/** A device that runs 1.0.0 and is offered another version. */
const setUp = async (t: Test, offered: AppFixture, { byDelta = false } = {}) => {
  const directory = await makeDirectory();
  const initialApp = await makeArchive(directory.path, one);
  const archive = await makeArchive(directory.path, offered);
  const delta = join(directory.path, 'delta');
  const made = await encodeDelta(await readFile(initialApp), await readFile(archive), delta);
  const server = await serveFirmware([byDelta ? delta : archive]);
  const whole = await makeJob('job-2', offered.version, archive);
  const { sha256 = '', sizeBytes = 0 } = made ?? {};
  const fromSha256 = await digestOf(initialApp, AbortSignal.timeout(10_000));
  const url = `/firmware/sha256/${sha256}`;
  const deltas = [{ fromSha256, url, format: deltaFormat, sha256, sizeBytes }];
  const job = byDelta ? { ...whole, deltas } : whole;
  const reports: UpdateReport[] = [];
  let launches = 0;
  let settle: (report: UpdateReport) => void = () => undefined;
  const settled = new Promise<UpdateReport>((resolve) => {
    settle = resolve;
  });
  const open = () =>
    openSlotUpdater(
      {
        log: silentLog,
        onLaunch: () => {
          launches += 1;
        },
        gateway: { baseUrl: () => server.baseUrl },
        check: async () => plainRelease,
        reporter: {
          ask: () => undefined,
          report: (_, report) => {
            reports.push(report);
            if (['succeeded', 'failed', 'rolled_back'].includes(report.status)) settle(report);
          },
        },
      },
      { directory: directory.path, initialApp, signal: AbortSignal.timeout(30_000) },
    );
  const device = await open();
  t.teardown(async () => {
    await device.close();
    await server.close();
    await directory.remove();
  });
  await device.updater.open();
  return { ...device, job, reports, settled, launches: () => launches, directory };
};

const statuses = (reports: readonly UpdateReport[]) => [
  ...new Set(reports.map(({ status }) => status)),
];

t.test(
  'makes the new archive of the one it was delivered with, where only a delta is to be had',
  async (t) => {
    const { updater, job, settled, directory } = await setUp(
      t,
      { version: '2.0.0' },
      { byDelta: true },
    );
    await updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
    t.match(await settled, { status: 'succeeded', version: '2.0.0', error: null });
    const kept = await readdir(join(directory.path, 'images'));
    t.same(kept.sort(), [job.sha256, job.deltas?.[0]?.fromSha256].sort());
  },
);

t.test('replaces the running application and says each step', async (t) => {
  const { updater, job, settled, reports, supervisor, directory } = await setUp(t, {
    version: '2.0.0',
  });
  t.equal(updater.version, '1.0.0');
  await updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
  t.match(await settled, { status: 'succeeded', version: '2.0.0', error: null });
  t.same(statuses(reports), [
    'downloading',
    'verifying',
    'installing',
    'rebooting',
    'confirming',
    'succeeded',
  ]);
  t.match(supervisor.runningKey, /^b /);
  const record = JSON.parse(await readFile(join(directory.path, 'update.json'), 'utf8'));
  t.match(record, { active: 'b', slots: { b: { version: '2.0.0' } } });
});

const bad: Record<string, AppFixture> = {
  'crashes at its start': { version: '2.0.0', script: 'process.exit(3)' },
  'never becomes healthy': {
    version: '2.0.0',
    script: `setInterval(() => {}, 1000)`,
    deadlineS: 0.3,
  },
  'does not run at all': { version: '2.0.0', script: 'this is no program' },
};
for (const [what, fixture] of Object.entries(bad)) {
  t.test(`goes back when the new application ${what}`, async (t) => {
    const { updater, job, settled, supervisor, launches } = await setUp(t, fixture);
    await updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
    const report = await settled;
    t.match(report, { status: 'rolled_back', version: '1.0.0' });
    t.ok(report.error);
    t.match(supervisor.runningKey, /^a /);
    t.ok(launches() >= 3, 'the old one, the new one, the old one again');
  });
}

t.test('an archive of another version, or none, fails before anything is touched', async (t) => {
  const { updater, job, settled, supervisor } = await setUp(t, { version: '2.0.0' });
  await updater.dispatch({
    type: 'offered',
    job: { ...job, version: '2.0.1' },
    deviceModel: 'pi',
  });
  t.match(await settled, { status: 'failed', version: '1.0.0', error: /2\.0\.0, not 2\.0\.1/ });
  t.match(supervisor.runningKey, /^a /);
});

t.test('a withdrawn job ends its download and leaves the device as it was', async (t) => {
  const { updater, job, supervisor } = await setUp(t, { version: '2.0.0' });
  const missing = { ...job, url: '/not/there' };
  await updater.dispatch({ type: 'offered', job: missing, deviceModel: 'pi' });
  await updater.dispatch({ type: 'withdrawn' });
  t.equal(updater.state.update.phase, 'idle');
  t.match(supervisor.runningKey, /^a /);
});

t.test('an application in service that ends is started again', async (t) => {
  const script = `console.log('ready'); setTimeout(() => process.exit(1), 50);`;
  const { updater, job, settled, launches } = await setUp(t, { version: '2.0.0', script });
  await updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
  t.match(await settled, { status: 'succeeded' });
  const before = launches();
  await waitUntil('it was started twice more', () => launches() >= before + 2);
  t.pass('twice more');
});
