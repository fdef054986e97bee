import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { aborted } from '@holdfast/provisioning/time/wait';
import t, { type Test } from 'tap';
import type { ReleaseCheck } from './image-platform.js';
import { installerNames } from './installer.js';
import { type ImageKind, type World, worlds } from './installer-world.js';
import type { OpenedUpdater } from './open-updater.js';
import { makeDirectory, makeJob, serveFirmware } from './update-fixture.js';
import type { UpdateReport } from './updater.js';

// One contract for all installers; processes are started in it, and a busy machine takes its time.
t.setTimeout(300_000);

const final: readonly string[] = ['succeeded', 'failed', 'rolled_back'];

/** A device that is offered an image, over all the restarts of its machine. */
const setUp = async (
  t: Test,
  world: World,
  kind: ImageKind,
  { change, check }: { change?: (image: string) => Promise<void>; check?: ReleaseCheck } = {},
) => {
  const directory = await makeDirectory();
  const image = await world.image(directory.path, kind);
  await change?.(image);
  const job = await makeJob('job-2', '2.0.0', image);
  const server = await serveFirmware([image]);
  const device = join(directory.path, 'device');
  await world.make(device);
  const reports: UpdateReport[] = [];
  let settle: (report: UpdateReport) => void = () => undefined;
  const settled = new Promise<UpdateReport>((resolve) => {
    settle = resolve;
  });
  let opened: Promise<OpenedUpdater>;
  const open = async (): Promise<OpenedUpdater> => {
    const next = await world.open({
      directory: device,
      baseUrl: server.baseUrl,
      ...(kind === 'sick' && { deadlineMs: 200 }),
      ...(check && { check }),
      reporter: {
        ask: () => undefined,
        report: (_, report) => {
          reports.push(report);
          if (final.includes(report.status)) settle(report);
        },
      },
      restarted: () => {
        opened = opened.then(async (before) => {
          await before.close();
          return open();
        });
      },
    });
    await next.updater.open();
    return next;
  };
  opened = open();
  t.teardown(async () => {
    await (await opened).close();
    await server.close();
    await directory.remove();
  });
  return { job, reports, settled, device, updater: async () => (await opened).updater };
};

for (const name of installerNames) {
  const world = worlds[name];

  t.test(`${name}: installs, proves itself, and says each step`, async (t) => {
    const { job, reports, settled, device, updater } = await setUp(t, world, 'good');
    t.equal((await updater()).version, '1.0.0');
    await (await updater()).dispatch({ type: 'offered', job, deviceModel: 'pi' });
    t.match(await settled, { status: 'succeeded', version: '2.0.0', error: null });
    t.same(
      [...new Set(reports.map(({ status }) => status))],
      ['downloading', 'verifying', 'installing', 'rebooting', 'confirming', 'succeeded'],
    );
    const percents = reports.flatMap(({ progress }) => progress ?? []);
    t.ok(percents.every((percent) => percent % 10 === 0));
    const installing = reports.filter(({ status }) => status === 'installing');
    t.equal(installing.at(-1)?.progress, 100);
    t.match(await world.look(device), { version: '2.0.0', ranHalf: false });
    t.equal((await updater()).state.securityCounter, world.release.securityCounter);
  });

  for (const kind of ['sick', 'dead'] as const) {
    t.test(`${name}: goes back from what is ${kind}`, async (t) => {
      const { job, settled, device, updater } = await setUp(t, world, kind);
      await (await updater()).dispatch({ type: 'offered', job, deviceModel: 'pi' });
      const outcome = name === 'script' && kind === 'dead' ? 'failed' : 'rolled_back';
      const report = await settled;
      t.match(report, { status: outcome, version: '1.0.0' });
      t.ok(report.error);
      t.match(await world.look(device), { version: '1.0.0', ranHalf: false });
      t.equal((await updater()).state.securityCounter, 0);
    });
  }

  t.test(`${name}: changes nothing for what it may not install`, async (t) => {
    const release = { ...world.release, installer: name === 'slots' ? 'script' : 'slots' };
    const { job, settled, device, updater } = await setUp(t, world, 'good', {
      check: async () => release,
    });
    await (await updater()).dispatch({ type: 'offered', job, deviceModel: 'pi' });
    t.match(await settled, { status: 'failed', error: /UPDATE_INSTALLER_MISMATCH/ });
    t.match(await world.look(device), { version: '1.0.0' });
  });

  t.test(`${name}: changes nothing when the job is taken back before it began`, async (t) => {
    const { job, device, updater } = await setUp(t, world, 'good', {
      check: (_job, _moment, signal) => aborted(signal).then(() => Promise.reject(signal.reason)),
    });
    const running = await updater();
    await running.dispatch({ type: 'offered', job, deviceModel: 'pi' });
    await running.dispatch({ type: 'withdrawn' });
    t.equal(running.state.update.phase, 'idle');
    t.match(await world.look(device), { version: '1.0.0' });
  });
}

t.test(
  'what is cut off or changed on its way is refused before anything of it is unpacked',
  async (t) => {
    for (const name of ['slots', 'script'] as const) {
      const { job, settled, device, updater } = await setUp(t, worlds[name], 'good', {
        change: async (image) => {
          await cp(image, `${image}.whole`);
          await writeFile(image, 'not an archive at all');
        },
      });
      await (await updater()).dispatch({ type: 'offered', job, deviceModel: 'pi' });
      t.match(await settled, {
        status: 'failed',
        error: /UPDATE_(ARCHIVE_REFUSED|MANIFEST_INVALID)/,
      });
      t.match(await worlds[name].look(device), { version: '1.0.0' });
    }
  },
);
