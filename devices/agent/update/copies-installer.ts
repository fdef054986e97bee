/**
 * Installers of whole systems in two copies, of which the boot loader starts one: an image is written into the other copy, the boot
 * loader is told to start that, the machine restarts, and what came up proves itself.
 *
 * What writes and what speaks with the boot loader comes from outside (`rauc`, `swupdate`). The boot loader is told to go over only after
 * the update has committed that it goes over; a copy that the tools went over to by themselves is taken for what it is. Where what is
 * booted is not what should be, the way back is tried a few times, then what there is is believed.
 */
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { Log } from '../log.js';
import { BootTrial, type HealthOptions, restartSince } from './boot-trial.js';
import type { Installer, InstallerName, TellUpdate } from './installer.js';
import type { Machine } from './machine.js';
import {
  type InstalledApp,
  type Installing,
  otherSlot,
  type Release,
  type Slot,
  type Trial,
  type Undoing,
  type UpdateJob,
} from './update-state.js';
import type { Found, InstallContext } from './updater.js';

/** The boot loader; `a` and `b` are the two copies in the order in which it is configured. */
export interface BootControl {
  booted(): Promise<Slot>;
  /** It is what the machine starts from now on, on trial where the boot loader knows such. */
  activate(slot: Slot): Promise<void>;
  /** It has proved itself. */
  confirm(slot: Slot): Promise<void>;
  /** It is not to be started again. */
  reject(slot: Slot): Promise<void>;
}

export interface ImageWriter {
  /** Looks through an image before anything changes. */
  inspect(image: string, job: UpdateJob, signal: AbortSignal): Promise<void>;
  /** Writes it into the copy, which is not the booted one; written again after a break. */
  write(
    image: string,
    slot: Slot,
    onProgress: (percent: number) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** The version in the booted copy. */
  version(): Promise<string>;
}

export interface CopiesInstallerDeps {
  readonly name: Extract<InstallerName, 'rauc' | 'swupdate'>;
  readonly boot: BootControl;
  readonly writer: ImageWriter;
  readonly machine: Machine;
  readonly tell: TellUpdate;
  readonly log: Log;
}

export interface CopiesInstallerOptions extends HealthOptions {
  readonly directory: string;
  readonly deadlineMs: number;
  readonly maxStarts: number;
}

/** How often one copy was gone back to without being booted. */
interface Returns {
  readonly slot: Slot | null;
  readonly attempts: number;
}

const mostReturns = 3;
const returnsSchema = v.object({
  slot: v.nullable(v.picklist(['a', 'b'])),
  attempts: v.pipe(v.number(), v.safeInteger()),
});

export class CopiesInstaller implements Installer {
  readonly name: Extract<InstallerName, 'rauc' | 'swupdate'>;
  readonly #deps: CopiesInstallerDeps;
  readonly #options: CopiesInstallerOptions;
  readonly #trial: BootTrial;
  readonly #returns: StoredRecord<Returns>;

  private constructor(
    deps: CopiesInstallerDeps,
    options: CopiesInstallerOptions,
    returns: StoredRecord<Returns>,
  ) {
    this.name = deps.name;
    this.#deps = deps;
    this.#options = options;
    this.#trial = new BootTrial(deps, options);
    this.#returns = returns;
  }

  static async open(
    deps: CopiesInstallerDeps,
    options: CopiesInstallerOptions,
  ): Promise<CopiesInstaller> {
    const returns = await openRecord<Returns>({
      path: join(options.directory, 'boot-returns.json'),
      parse: (value) => v.parse(returnsSchema, value),
      initial: { slot: null, attempts: 0 },
      log: deps.log,
    });
    return new CopiesInstaller(deps, options, returns);
  }

  async found(): Promise<Found | null> {
    const slot = await this.#deps.boot.booted();
    const { slot: wanted, attempts } = this.#returns.data;
    // On its way back it is not where it should be, and this is not what is to be believed.
    if (wanted !== null && wanted !== slot && attempts < mostReturns) return null;
    const version = await this.#deps.writer.version();
    return { slot, app: { version, sha256: 'found', jobId: null } };
  }

  inspect(image: string, job: UpdateJob, _: Release, signal: AbortSignal): Promise<void> {
    return this.#deps.writer.inspect(image, job, signal);
  }

  async install(
    image: string,
    slot: Slot,
    { since }: Installing,
    { step, onProgress, signal }: InstallContext,
  ): Promise<Trial> {
    const { boot, writer, machine } = this.#deps;
    const { deadlineMs, maxStarts } = this.#options;
    const bootId = await machine.bootId();
    if ((await boot.booted()) === slot) {
      // The tool went over to it by itself, which it does once it is whole, and the machine has restarted since.
      if (since !== null && since !== bootId) return { deadlineMs, maxStarts, since };
      throw new HoldfastError('UPDATE_INSTALL_FAILED', `The copy ${slot} is the one that runs`);
    }
    await step('write', () => writer.write(image, slot, onProgress, signal));
    onProgress(100);
    return { deadlineMs, maxStarts, since: bootId };
  }

  bootId(): Promise<string> {
    return this.#deps.machine.bootId();
  }

  /** The boot loader is to start what ran before. */
  async undo(_: string, { target, previous }: Undoing): Promise<void> {
    const { boot } = this.#deps;
    await this.#trial.stop();
    await boot.reject(target);
    await boot.activate(previous ?? otherSlot(target));
  }

  async restart({ previous }: Undoing, since: string, signal: AbortSignal): Promise<void> {
    const { boot, machine } = this.#deps;
    // The boot loader may have gone back by itself.
    if ((await boot.booted()) !== previous) await restartSince(machine, since, signal);
  }

  async run(slot: Slot, _: InstalledApp, trial: Trial | null): Promise<void> {
    const { boot, tell } = this.#deps;
    const booted = await boot.booted();
    if (trial === null) {
      await this.#serve(slot, booted);
    } else if (await this.#trial.isBeforeRestart(trial)) {
      await this.#trial.restart(slot, () => boot.activate(slot));
    } else if (booted === slot) {
      await this.#trial.watch(slot, trial);
    } else {
      tell({ type: 'exited', slot, error: `the boot loader went back to ${booted}` });
    }
  }

  async stop(): Promise<void> {
    await this.#trial.stop();
  }

  async close(): Promise<void> {
    await this.#trial.stop();
  }

  async #serve(slot: Slot, booted: Slot): Promise<void> {
    const { boot, log } = this.#deps;
    if (booted === slot) {
      await this.#trial.stop();
      await boot.confirm(slot);
      if (this.#returns.data.slot !== null) {
        await this.#returns.update(() => ({ slot: null, attempts: 0 }));
      }
      return;
    }
    const { data } = this.#returns;
    const attempts = data.slot === slot ? data.attempts : 0;
    if (attempts >= mostReturns) {
      log.error({ slot, booted }, 'the boot loader does not go back; what it started goes on');
      await boot.confirm(booted);
      return;
    }
    await this.#returns.update(() => ({ slot, attempts: attempts + 1 }));
    log.warn({ slot, booted }, 'the machine goes back');
    await this.#trial.restart(slot, async () => {
      await boot.reject(booted);
      await boot.activate(slot);
    });
  }
}
