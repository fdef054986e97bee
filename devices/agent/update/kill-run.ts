/** For tests: starts kill-point devices on fresh folders, killed where asked, and says how the update ended. */
import { spawn } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openRecord } from '@holdfast/provisioning/storage/record';
import { silentLog } from '../log.js';
import { installInitialApp } from './initial-app.js';
import { findMarked } from './process-group.js';
import {
  type AppFixture,
  makeArchive,
  makeDirectory,
  makeJob,
  serveFirmware,
} from './update-fixture.js';
import { parseUpdateState } from './update-record.js';
import { newUpdateState, type UpdateJob } from './update-state.js';

export interface KillRun {
  readonly job: UpdateJob;
  readonly baseUrl: string;
  /** A device with 1.0.0 installed, to be copied. */
  readonly pristine: string;
  readonly close: () => Promise<void>;
}

export interface KillOutcome {
  readonly outcome: string;
  readonly version: string;
  readonly steps: number;
  /** Processes that nobody supervises any more. */
  readonly leftovers: number;
  /** Whether the kill happened at all: the point may lie beyond the end. */
  readonly kills: number;
}

const program = fileURLToPath(new URL('kill-point-device.js', import.meta.url));

export const prepareKillRun = async (offered: AppFixture): Promise<KillRun> => {
  const directory = await makeDirectory();
  const initial = await makeArchive(directory.path, { version: '1.0.0' });
  const archive = await makeArchive(directory.path, offered);
  const server = await serveFirmware([archive]);
  const pristine = join(directory.path, 'pristine');
  const record = await openRecordAt(pristine);
  await installInitialApp(record, pristine, initial, AbortSignal.timeout(10_000));
  return {
    job: await makeJob('job-2', offered.version, archive),
    baseUrl: server.baseUrl,
    pristine,
    close: async () => {
      await server.close();
      await directory.remove();
    },
  };
};

/** Kills at each point in turn, each in the process that came after the one before, then lets it finish. */
export const finishAfterKills = async (
  run: KillRun,
  points: readonly number[],
): Promise<KillOutcome> => {
  const directory = `${run.pristine}-${points.join('-')}`;
  await cp(run.pristine, directory, { recursive: true });
  let kills = 0;
  for (const point of points) {
    const { signal } = await start(run, directory, point);
    if (signal === 'SIGKILL') kills += 1;
  }
  const { lines } = await start(run, directory, 0);
  const settled = lines.findLast((line) => /^(succeeded|failed|rolled_back) /.test(line));
  const [outcome = 'none', version = '-'] = settled?.split(' ') ?? [];
  const steps = Number(lines.findLast((line) => line.startsWith('steps'))?.split(' ')[1] ?? 0);
  const leftovers = (await findMarked(directory)).length;
  await rm(directory, { recursive: true, force: true });
  return { outcome, version, steps, leftovers, kills };
};

const start = (run: KillRun, directory: string, killAt: number) =>
  new Promise<{ signal: NodeJS.Signals | null; lines: string[] }>((resolve, reject) => {
    const parameters = [directory, run.baseUrl, JSON.stringify(run.job), String(killAt)];
    // A test runner's own options are nothing to the device.
    const { NODE_OPTIONS: _, ...env } = process.env;
    const child = spawn(process.execPath, [program, ...parameters], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 30_000,
      env,
    });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.once('error', reject);
    child.once('exit', (_, signal) => resolve({ signal, lines: said.split('\n') }));
  });

const openRecordAt = (directory: string) =>
  openRecord({
    path: join(directory, 'update.json'),
    parse: parseUpdateState,
    initial: newUpdateState(),
    log: silentLog,
  });
