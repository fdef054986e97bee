/** The machine under the agent: which boot of it this is, and how it is restarted. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { wait } from '@holdfast/provisioning/time/wait';
import { runCommand, shell } from './run-command.js';

export interface Machine {
  /** Another after each restart of the machine. */
  bootId(): Promise<string>;
  /** Null where an update needs no restart of the machine. */
  readonly restart: ((signal: AbortSignal) => Promise<never>) | null;
}

export interface MachineOptions {
  /** A line of the shell; empty where nothing restarts the machine. */
  readonly restartCommand: string;
  /** After which a machine that was asked to restart does not restart any more. */
  readonly restartTimeoutMs?: number;
}

const bootIdFile = '/proc/sys/kernel/random/boot_id';

export const openMachine = ({
  restartCommand,
  restartTimeoutMs = 300_000,
}: MachineOptions): Machine => {
  // Elsewhere than on Linux each start of this program has to pass for one of the machine.
  const ownId = randomUUID();
  return {
    bootId: async () => {
      const text = await readFile(bootIdFile, 'utf8').catch(() => ownId);
      return text.trim();
    },
    restart:
      restartCommand === ''
        ? null
        : async (signal) => {
            await runCommand({ command: shell(restartCommand), timeoutMs: 60_000, signal });
            // What follows is the end of this process.
            await wait(restartTimeoutMs, signal);
            const message = `The machine has not restarted in ${String(restartTimeoutMs)} ms`;
            throw new HoldfastError('DEADLINE_EXCEEDED', message);
          },
  };
};
