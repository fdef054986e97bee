/**
 * For tests: a process that carries out an update and kills itself with SIGKILL at its n-th step, a step being each side of every commit,
 * of every effect, and of every write of a simulated tool. Started again with 0 it must come back and finish.
 *
 * Arguments: installer, folder, the firmware server's address, the job as JSON, n, steps taken before. It writes each report as a line,
 * and `steps n` when settled, or when the machine restarts (exit code 75).
 */
import type { StoredRecord } from '@holdfast/provisioning/storage/record';
import type { InstallerName } from './installer.js';
import { worlds } from './installer-world.js';
import type { UpdateJob, UpdateState } from './update-state.js';
import type { UpdatePlatform } from './updater.js';

const [name = '', directory = '', baseUrl = '', jobJson = '', killAt = '0', before = '0'] =
  process.argv.slice(2);
// Written by the test itself, like the name.
const job = JSON.parse(jobJson) as UpdateJob;
const world = worlds[name as InstallerName];
let steps = Number(before);

const step = (): void => {
  steps += 1;
  if (steps === Number(killAt)) process.kill(process.pid, 'SIGKILL');
};

const around = async <T>(work: () => Promise<T>): Promise<T> => {
  step();
  const result = await work();
  step();
  return result;
};

const wrapRecord = (record: StoredRecord<UpdateState>): StoredRecord<UpdateState> => ({
  get data() {
    return record.data;
  },
  update: (change) => around(() => record.update(change)),
});

const wrapPlatform = (platform: UpdatePlatform): UpdatePlatform => ({
  found: async () => (await platform.found?.()) ?? null,
  download: (...given) => around(() => platform.download(...given)),
  verify: (...given) => around(() => platform.verify(...given)),
  install: (...given) => around(() => platform.install(...given)),
  undo: (...given) => around(() => platform.undo(...given)),
  bootId: () => platform.bootId(),
  restart: (...given) => around(() => platform.restart(...given)),
  run: (...given) => around(() => platform.run(...given)),
  stop: () => around(() => platform.stop()),
  discard: (...given) => around(() => platform.discard(...given)),
});

const sayAndExit = (code: number): void => {
  process.stdout.write(`steps ${String(steps)}\n`, () => process.exit(code));
};

let resolveSettled: () => void = () => undefined;
const settled = new Promise<void>((resolve) => {
  resolveSettled = resolve;
});
const outcomes: readonly string[] = ['succeeded', 'failed', 'rolled_back'];

const device = await world.open({
  directory,
  baseUrl,
  deadlineMs: process.env.HOLDFAST_TEST_SICK === '1' ? 200 : 20_000,
  reporter: {
    ask: () => undefined,
    report: (_, { status, version }) => {
      process.stdout.write(`${status} ${version ?? '-'}\n`);
      if (outcomes.includes(status)) resolveSettled();
    },
  },
  step,
  restarted: () => sayAndExit(75),
  wrapRecord,
  wrapPlatform,
});
await device.updater.open();
await device.updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
await settled;
await device.updater.dispatch({ type: 'answered', jobId: job.id });
await device.close();
sayAndExit(0);
