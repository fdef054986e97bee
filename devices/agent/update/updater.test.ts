import { join } from 'node:path';
import { openRecord } from '@holdfast/provisioning/storage/record';
import t, { type Test } from 'tap';
import { silentLog as log } from '../log.js';
import { makeDirectory, plainRelease } from './update-fixture.js';
import { parseUpdateState } from './update-record.js';
import { newUpdateState, type UpdateJob } from './update-state.js';
import { type UpdatePlatform, type UpdateReport, Updater } from './updater.js';

const job: UpdateJob = {
  id: 'job-1',
  campaignId: 'c-1',
  version: '2.0.0',
  model: 'pi',
  url: '/firmware/sha256/22',
  sha256: '22',
  sizeBytes: 10,
};

/** A device on which everything works but what a test says. */
const setUp = async (
  t: Test,
  {
    report,
    isAnswered = false,
    ...platform
  }: Partial<UpdatePlatform> & {
    report?: (report: UpdateReport) => void;
    isAnswered?: boolean;
  },
) => {
  const directory = await makeDirectory();
  const reports: UpdateReport[] = [];
  let look: () => void = () => undefined;
  const works: UpdatePlatform = {
    download: async () => undefined,
    verify: async () => plainRelease,
    install: async () => ({ deadlineMs: 1_000, maxStarts: 1, since: null }),
    undo: async () => undefined,
    bootId: async () => 'boot-1',
    restart: async () => undefined,
    run: async () => undefined,
    stop: async () => undefined,
    discard: async () => undefined,
  };
  const updater = new Updater({
    record: await openRecord({
      path: join(directory.path, 'update.json'),
      parse: parseUpdateState,
      initial: newUpdateState(),
      log,
    }),
    platform: { ...works, ...platform },
    reporter: {
      isAnswered,
      ask: () => undefined,
      report: (_, said) => {
        reports.push(said);
        look();
        report?.(said);
      },
    },
    log,
  });
  t.teardown(async () => {
    await updater.close();
    await directory.remove();
  });
  await updater.open();
  const reported = async (status: UpdateReport['status']): Promise<UpdateReport> => {
    for (;;) {
      const found = reports.find((said) => said.status === status);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        look = resolve;
      });
    }
  };
  return { updater, reported };
};

t.test('an error of any length ends an update, and not the updates', async (t) => {
  const { updater, reported } = await setUp(t, {
    verify: async () => {
      throw new Error('x'.repeat(60_000));
    },
  });
  await updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
  const { error } = await reported('failed');
  t.match(error, /^verify: x+$/);
  t.ok((error ?? '').length <= 1_000);
  await updater.dispatch({ type: 'answered', jobId: job.id });
  t.equal(updater.state.update.phase, 'idle');
});

t.test('an effect that throws costs itself, and nothing that comes after', async (t) => {
  const { updater, reported } = await setUp(t, {
    report: ({ status }) => {
      if (status === 'downloading') throw new Error('no topic has such a name');
    },
  });
  await updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
  await reported('rebooting');
  t.equal(updater.version, '2.0.0');
});

t.test('installs when the gateway lets it, and not before', async (t) => {
  const installed: string[] = [];
  const { updater, reported } = await setUp(t, {
    isAnswered: true,
    install: async (_, { job: { id } }) => {
      installed.push(id);
      return { deadlineMs: 1_000, maxStarts: 1, since: null };
    },
  });
  await updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
  await reported('installing');
  await updater.dispatch({ type: 'connected' });
  t.same(installed, []);
  t.equal(updater.state.update.phase, 'waiting');
  await updater.dispatch({ type: 'permitted', jobId: job.id });
  await reported('rebooting');
  t.same(installed, ['job-1']);
});
