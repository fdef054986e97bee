/**
 * What the machine itself knows of time, as any user may find out on Linux: which start of it this is, what its battery-backed clock
 * says, and whether NTP has its clock synchronised. Nothing here is believed yet: `clock-trust` decides.
 */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { ClockReading } from './clock-trust.js';

export interface NtpState {
  /** Whether its answers are authenticated (NTS or a shared key): anybody on the way can forge the others. */
  readonly authenticated: boolean;
  /** How far off it may be, ms. */
  readonly errorMs: number;
}

export interface MachineTime {
  /** Both clocks, at once; the monotonic one counts from the start of the machine, across restarts of the program. */
  read(): ClockReading;
  /** Names this start of the machine. */
  boot(): Promise<string>;
  /** Epoch ms of the battery-backed clock; null where there is none. */
  rtc(): Promise<number | null>;
  /** null while nothing has the clock synchronised. */
  ntp(): Promise<NtpState | null>;
}

/** The output of a tool; undefined when it is not there or fails. */
export type RunTool = (tool: string, args: readonly string[]) => Promise<string | undefined>;

export interface MachineTimeOptions {
  /** Where /proc and /sys lie. */
  readonly root?: string;
  readonly run?: RunTool;
}

const toolTimeoutMs = 5_000;

export const machineTime = ({
  root = '/',
  run = runTool,
}: MachineTimeOptions = {}): MachineTime => ({
  read: readClocks,
  async boot() {
    const id = await textOf(join(root, 'proc/sys/kernel/random/boot_id'));
    // Where the machine does not say, every start of the program counts as one of the machine: nothing is believed on that account.
    return id ?? randomUUID();
  },
  rtc: () => readRtc(join(root, 'sys/class/rtc')),
  ntp: async () => (await askChrony(run)) ?? (await askKernel(run)),
});

/** `performance.now` counts from the start of the process, by the clock that `hrtime` reads. */
const monotonicZero = Number(process.hrtime.bigint()) / 1e6 - performance.now();

const readClocks = (): ClockReading => ({
  system: Date.now(),
  monotonic: monotonicZero + performance.now(),
});

const textOf = async (path: string): Promise<string | undefined> => {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch {
    return undefined;
  }
};

/** The one from which the kernel sets the clock at start, where it says which, else the first that can be read. */
const readRtc = async (folder: string): Promise<number | null> => {
  const names = await readdir(folder).catch(() => []);
  let found: number | null = null;
  for (const name of names.sort()) {
    const seconds = Number(await textOf(join(folder, name, 'since_epoch')));
    if (!Number.isSafeInteger(seconds) || seconds <= 0) continue;
    if ((await textOf(join(folder, name, 'hctosys'))) === '1') return seconds * 1_000;
    found ??= seconds * 1_000;
  }
  return found;
};

/**
 * chrony says by whom it is synchronised, and to members of its group (`_chrony`) whether that one is authenticated. Fields as in
 * chronyc(1): of `tracking` the server's address, root delay and root dispersion in seconds, and the leap status.
 */
const askChrony = async (run: RunTool): Promise<NtpState | null> => {
  const tracking = (await run('chronyc', ['-n', '-c', 'tracking']))?.trim().split(',');
  const [, server] = tracking ?? [];
  const [delay, dispersion] = [Number(tracking?.[10]), Number(tracking?.[11])];
  if (tracking?.at(-1) !== 'Normal' || !server || !Number.isFinite(delay + dispersion)) return null;
  const lines = (await run('chronyc', ['-n', '-c', 'authdata'])) ?? '';
  const authenticated = lines
    .split('\n')
    .map((line) => line.split(','))
    .some(([name, mode]) => name === server && (mode === 'NTS' || mode === 'SK'));
  return { authenticated, errorMs: Math.ceil((delay / 2 + dispersion) * 1_000) };
};

/** The kernel's flag, which every NTP program sets, and which falls when anybody else sets the clock. It does not say who it was. */
const askKernel = async (run: RunTool): Promise<NtpState | null> => {
  const said = await run('timedatectl', ['show', '--property=NTPSynchronized', '--value']);
  return said?.trim() === 'yes' ? { authenticated: false, errorMs: 1_000 } : null;
};

const runTool: RunTool = (tool, args) =>
  new Promise((resolve) => {
    const options = {
      timeout: toolTimeoutMs,
      maxBuffer: 64 * 1024,
      env: { ...process.env, LC_ALL: 'C' },
    };
    execFile(tool, args, options, (error, stdout) => resolve(error === null ? stdout : undefined));
  });
