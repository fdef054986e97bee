/**
 * For tests: a process that carries out an update and kills itself with SIGKILL at its n-th step, a step being each side of every commit
 * and of every effect. Started again with 0 it must come back and finish.
 *
 * Arguments: folder, the firmware server's address, the job as JSON, n. It writes each report as a line, and `steps n` when settled.
 */
import type { StoredRecord } from '@holdfast/provisioning/storage/record';
import { silentLog } from '../log.js';
import { openSlotUpdater } from './slot-updater.js';
import { plainRelease } from './update-fixture.js';
import type { UpdateJob, UpdateState } from './update-state.js';
import type { UpdatePlatform } from './updater.js';

const [directory = '', baseUrl = '', jobJson = '', killAt = '0'] = process.argv.slice(2);
// Written by the test itself.
const job = JSON.parse(jobJson) as UpdateJob;
let steps = 0;

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

let resolveSettled: () => void = () => undefined;
const settled = new Promise<void>((resolve) => {
  resolveSettled = resolve;
});
const outcomes: readonly string[] = ['succeeded', 'failed', 'rolled_back'];

const device = await openSlotUpdater(
  {
    log: silentLog,
    onLaunch: () => undefined,
    gateway: { baseUrl: () => baseUrl },
    check: async () => plainRelease,
    reporter: {
      ask: () => undefined,
      report: (_, { status, version }) => {
        process.stdout.write(`${status} ${version ?? '-'}\n`);
        if (outcomes.includes(status)) resolveSettled();
      },
    },
    wrapRecord,
    wrapPlatform,
  },
  { directory, signal: AbortSignal.timeout(60_000) },
);
await device.updater.open();
await device.updater.dispatch({ type: 'offered', job, deviceModel: 'pi' });
await settled;
await device.updater.dispatch({ type: 'answered', jobId: job.id });
process.stdout.write(`steps ${String(steps)}\n`);
await device.close();
