/**
 * SWUpdate as image writer: one run of `swupdate -i IMAGE -e SELECTION` for each installation, which ends with the installation.
 *
 * It is told which copy to write; who starts which copy is the boot handler's (an image may set the boot loader's variables by itself
 * as well). Errors: `COMMAND_FAILED` with what SWUpdate said.
 */
import { mkdtemp, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { wait } from '@holdfast/provisioning/time/wait';
import type { ImageWriter } from './copies-installer.js';
import { runCommand, shell } from './run-command.js';
import type { Slot, UpdateJob } from './update-state.js';

export interface SwupdateOptions {
  /** `software,mode` for each copy: `stable,copy1`. */
  readonly selections: Readonly<Record<Slot, string>>;
  /** The key or certificate that images are signed with. */
  readonly keyFile?: string;
  /** `board:revision`. */
  readonly hardware?: string;
  readonly configFile?: string;
  /** A line of the shell that prints the version in the copy that runs. */
  readonly versionCommand: string;
  /** Marks its processes. */
  readonly owner: string;
  readonly timeoutMs?: number;
}

const pollMs = 250;

export const openSwupdate = (options: SwupdateOptions): ImageWriter => {
  const { selections, keyFile, hardware, configFile, versionCommand, owner } = options;
  const { timeoutMs = 3_600_000 } = options;
  const parameters = [
    ...(configFile === undefined ? [] : ['-f', configFile]),
    ...(keyFile === undefined ? [] : ['-k', keyFile]),
    ...(hardware === undefined ? [] : ['-H', hardware]),
  ];
  const swupdate = async (
    image: string,
    more: readonly string[],
    signal: AbortSignal,
    started: (pid: number) => void = () => undefined,
  ): Promise<void> => {
    const errors: string[] = [];
    // Its sockets have fixed names: another SWUpdate on this machine has its own.
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-swupdate-'));
    const said = (line: string) => {
      const error = /^\[ERROR\] : (.*)$/.exec(line)?.[1];
      if (error !== undefined) errors.push(error);
    };
    try {
      await runCommand({
        command: ['swupdate', ...parameters, ...more, '-i', image],
        environment: { TMPDIR: folder },
        ...{ owner, timeoutMs, signal, said, started },
      });
    } catch (error) {
      if (!isHoldfastError(error, 'COMMAND_FAILED') || errors.length === 0) throw error;
      throw new HoldfastError('COMMAND_FAILED', errors.join('; ').slice(0, 1_000), {
        cause: error,
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
  return {
    inspect: (image: string, _: UpdateJob, signal: AbortSignal) =>
      swupdate(image, ['-e', selections.a, '-c'], signal),
    write: async (image, slot, onProgress, signal) => {
      const over = new AbortController();
      await swupdate(image, ['-e', selections[slot]], signal, (pid) => {
        void watch(pid, image, onProgress, AbortSignal.any([signal, over.signal]));
      }).finally(() => over.abort());
    },
    version: async () => {
      const { signal } = new AbortController();
      const command = shell(versionCommand);
      const { output } = await runCommand({ command, timeoutMs: 30_000, signal });
      return output.trim() || 'unknown';
    },
  };
};

/** How much of the image it has read: its own progress is told in a C struct that is another in each version. */
const watch = async (
  pid: number,
  image: string,
  onProgress: (percent: number) => void,
  signal: AbortSignal,
): Promise<void> => {
  try {
    const { size } = await stat(image);
    for (;;) {
      await wait(pollMs, signal);
      onProgress(((await positionOf(pid, image)) * 100) / size);
    }
  } catch {
    // It has ended, or /proc is not there.
  }
};

const positionOf = async (pid: number, path: string): Promise<number> => {
  const folder = `/proc/${String(pid)}`;
  for (const fd of await readdir(join(folder, 'fd'))) {
    const target = await readlink(join(folder, 'fd', fd)).catch(() => '');
    if (target !== path) continue;
    const text = await readFile(join(folder, 'fdinfo', fd), 'utf8').catch(() => '');
    return Number(/^pos:\s*(\d+)/.exec(text)?.[1] ?? 0);
  }
  return 0;
};
