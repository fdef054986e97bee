/**
 * The trial of software that a restart of the machine brings up: restarts it, and tells once it is up again how the trial goes. One
 * trial at a time.
 */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import { wait } from '@holdfast/provisioning/time/wait';
import type { Log } from '../log.js';
import type { TellUpdate } from './installer.js';
import type { Machine } from './machine.js';
import { runCommand, shell } from './run-command.js';
import type { Slot, Trial } from './update-state.js';

export interface HealthOptions {
  /** A line of the shell that ends with 0 when the device is healthy; without one it is, once this agent runs again. */
  readonly healthCommand?: string;
  /** How long it must then stay so. */
  readonly stableMs?: number;
}

export interface BootTrialDeps {
  readonly machine: Machine;
  readonly tell: TellUpdate;
  readonly log: Log;
}

const askEveryMs = 1_000;
const askTimeoutMs = 30_000;

export class BootTrial {
  readonly #deps: BootTrialDeps;
  readonly #health: HealthOptions;
  #underWay: { readonly abort: AbortController; readonly done: Promise<void> } | null = null;

  constructor(deps: BootTrialDeps, health: HealthOptions) {
    this.#deps = deps;
    this.#health = health;
  }

  /** Whether the machine has yet to restart for this trial. */
  async isBeforeRestart({ since }: Trial): Promise<boolean> {
    return since !== null && since === (await this.#deps.machine.bootId());
  }

  /** Ends the trial before, begins to restart, and returns. */
  async restart(slot: Slot, prepare: () => Promise<void> = async () => undefined): Promise<void> {
    await this.#begin(async (signal) => {
      try {
        await prepare();
        await restartMachine(this.#deps.machine, signal);
      } catch (error) {
        if (!signal.aborted) this.#deps.tell({ type: 'exited', slot, error: messageOf(error) });
      }
    });
  }

  /** It is up: what is to be seen of it is told from now on. */
  async watch(slot: Slot, { deadlineMs }: Trial): Promise<void> {
    const { tell } = this.#deps;
    await this.#begin(async (signal) => {
      tell({ type: 'launched', slot });
      const deadline = AbortSignal.timeout(deadlineMs);
      try {
        await this.#awaitHealth(AbortSignal.any([signal, deadline]));
        tell({ type: 'healthy', slot });
      } catch {
        if (!signal.aborted) tell({ type: 'overdue', slot });
      }
    });
  }

  async stop(): Promise<void> {
    const underWay = this.#underWay;
    this.#underWay = null;
    underWay?.abort.abort();
    await underWay?.done;
  }

  async #begin(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    await this.stop();
    const abort = new AbortController();
    this.#underWay = { abort, done: work(abort.signal) };
  }

  async #awaitHealth(signal: AbortSignal): Promise<void> {
    const { healthCommand = '', stableMs = 0 } = this.#health;
    while (!(await this.#isHealthy(healthCommand, signal))) await wait(askEveryMs, signal);
    if (stableMs === 0) return;
    await wait(stableMs, signal);
    if (!(await this.#isHealthy(healthCommand, signal))) throw new Error('it did not stay healthy');
  }

  async #isHealthy(line: string, signal: AbortSignal): Promise<boolean> {
    if (line === '') return true;
    try {
      await runCommand({ command: shell(line), timeoutMs: askTimeoutMs, signal });
      return true;
    } catch (error) {
      signal.throwIfAborted();
      this.#deps.log.info({ error: messageOf(error) }, 'not healthy yet');
      return false;
    }
  }
}

/** Returns where the machine needs no restart. */
export const restartMachine = async (machine: Machine, signal: AbortSignal): Promise<void> => {
  await machine.restart?.(signal);
};

/** Restarts the machine unless it has restarted since that boot. */
export const restartSince = async (
  machine: Machine,
  since: string,
  signal: AbortSignal,
): Promise<void> => {
  if ((await machine.bootId()) === since) await restartMachine(machine, signal);
};
