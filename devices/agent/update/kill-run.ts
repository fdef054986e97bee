/** For tests: starts kill-point devices on fresh folders, killed where asked, and says how the update ended. */
import { spawn } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { InstallerName } from './installer.js';
import { type ImageKind, type World, worlds } from './installer-world.js';
import { findMarked } from './process-group.js';
import { makeDirectory, makeJob, serveFirmware } from './update-fixture.js';
import type { UpdateJob } from './update-state.js';

export interface KillRun {
  readonly world: World;
  readonly kind: ImageKind;
  readonly job: UpdateJob;
  readonly baseUrl: string;
  /** A device with 1.0.0 installed, to be copied. */
  readonly pristine: string;
  readonly close: () => Promise<void>;
}

export interface KillOptions {
  /** What a kill is: the end of the process, or of the power, after which the machine starts anew. */
  readonly cut?: 'process' | 'power';
  /** A module that the device imports first, and what it finds in its environment. */
  readonly preload?: { readonly module: string; readonly environment: Record<string, string> };
}

export interface KillOutcome {
  readonly outcome: string;
  /** What really runs in the end. */
  readonly version: string;
  /** Whether anything ran that was not whole. */
  readonly ranHalf: boolean;
  readonly steps: number;
  /** Processes that nobody supervises any more. */
  readonly leftovers: number;
  /** Whether the kill happened at all: the point may lie beyond the end. */
  readonly kills: number;
  /** What the last process wrote. */
  readonly lines: readonly string[];
}

const program = fileURLToPath(new URL('kill-point-device.js', import.meta.url));
const restartCode = 75;
const mostRestarts = 20;

export const prepareKillRun = async (name: InstallerName, kind: ImageKind): Promise<KillRun> => {
  const world = worlds[name];
  const directory = await makeDirectory();
  const image = await world.image(directory.path, kind);
  const server = await serveFirmware([image]);
  const pristine = join(directory.path, 'pristine');
  await world.make(pristine);
  return {
    ...{ world, kind, pristine },
    job: await makeJob('job-2', '2.0.0', image),
    baseUrl: server.baseUrl,
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
  options: KillOptions = {},
): Promise<KillOutcome> => {
  const directory = `${run.pristine}-${points.join('-')}-${options.cut ?? 'process'}`;
  await cp(run.pristine, directory, { recursive: true });
  let kills = 0;
  for (const point of points) {
    const { signal } = await runDevice(run, directory, point, options);
    if (signal !== 'SIGKILL') continue;
    kills += 1;
    if (options.cut === 'power') await run.world.powerCycle(directory);
  }
  // What cuts it off by itself does so once.
  const { lines } = await runDevice(run, directory, 0, kills > 0 ? {} : options);
  const settled = lines.findLast((line) => /^(succeeded|failed|rolled_back) /.test(line));
  const [outcome = 'none'] = settled?.split(' ') ?? [];
  const looked = await run.world.look(directory);
  const leftovers = (await findMarked(directory)).length;
  await rm(directory, { recursive: true, force: true });
  return { outcome, ...looked, steps: stepsOf(lines), leftovers, kills, lines };
};

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly lines: readonly string[];
}

/** Over the restarts of its machine. */
const runDevice = async (
  run: KillRun,
  directory: string,
  killAt: number,
  options: KillOptions,
): Promise<Ended> => {
  const lines: string[] = [];
  for (let restarts = 0; restarts < mostRestarts; restarts += 1) {
    const ended = await start(run, directory, [killAt, stepsOf(lines)], options);
    lines.push(...ended.lines);
    if (ended.code !== restartCode) return { ...ended, lines };
  }
  throw new Error(`the machine restarts and restarts: ${lines.join(', ')}`);
};

const stepsOf = (lines: readonly string[]): number =>
  Number(lines.findLast((line) => line.startsWith('steps'))?.split(' ')[1] ?? 0);

const start = (
  { world, kind, baseUrl, job }: KillRun,
  directory: string,
  counts: readonly number[],
  { preload }: KillOptions,
) =>
  new Promise<Ended>((resolve, reject) => {
    const parameters = [world.name, directory, baseUrl, JSON.stringify(job), ...counts.map(String)];
    // A test runner's own options are nothing to the device.
    const { NODE_OPTIONS: _, ...environment } = process.env;
    const imports = preload === undefined ? [] : ['--import', preload.module];
    const child = spawn(process.execPath, [...imports, program, ...parameters], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 60_000,
      env: {
        ...environment,
        ...(kind === 'sick' && { HOLDFAST_TEST_SICK: '1' }),
        ...preload?.environment,
      },
    });
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, lines: said.split('\n') }));
  });
