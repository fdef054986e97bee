/**
 * The installer `script`: the archive's steps, programs named by the signed manifest, run one after the other in the archive's folder.
 *
 * Each is committed before it begins and when it is done, so that a device that stopped goes on with the step that it stopped in. That
 * step runs again: **steps must be idempotent**. A step named `undo` is run on the way back and nowhere else; without one a failed
 * installation is only reported. After the last step the machine restarts where a restart command is configured, and then proves itself.
 *
 * Errors: `UPDATE_ARCHIVE_REFUSED`, `UPDATE_MANIFEST_INVALID`, `COMMAND_FAILED`, `DEADLINE_EXCEEDED`.
 */
import { access, mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Log } from '../log.js';
import { listArchive, unpackArchive } from './archive.js';
import { BootTrial, type HealthOptions, restartSince } from './boot-trial.js';
import type { Installer, TellUpdate } from './installer.js';
import type { Machine } from './machine.js';
import { endLeftovers } from './process-group.js';
import { runCommand } from './run-command.js';
import { syncPath } from './sync-tree.js';
import {
  type InstalledApp,
  type Installing,
  type Release,
  type ReleaseStep,
  type Slot,
  type Trial,
  type Undoing,
  type UpdateJob,
  undoStep,
} from './update-state.js';
import type { InstallContext } from './updater.js';

export interface ScriptInstallerDeps {
  readonly machine: Machine;
  readonly tell: TellUpdate;
  readonly log: Log;
}

export interface ScriptInstallerOptions extends HealthOptions {
  readonly directory: string;
  readonly deadlineMs: number;
  readonly maxStarts: number;
  readonly environment?: Readonly<Record<string, string>>;
}

const endGraceMs = 5_000;

export class ScriptInstaller implements Installer {
  readonly name = 'script';
  readonly #deps: ScriptInstallerDeps;
  readonly #options: ScriptInstallerOptions;
  readonly #trial: BootTrial;
  readonly #folder: string;

  constructor(deps: ScriptInstallerDeps, options: ScriptInstallerOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#trial = new BootTrial(deps, options);
    this.#folder = join(options.directory, 'script');
  }

  async inspect(image: string, _: UpdateJob, release: Release, signal: AbortSignal): Promise<void> {
    const files = await listArchive(image, signal);
    const [first] = release.steps.filter(({ name }) => name !== undoStep);
    if (first === undefined) throw invalid('The manifest names no step');
    const names = release.steps.map(({ name }) => name);
    if (new Set(names).size < names.length) throw invalid('The manifest names a step twice');
    for (const { name, file } of release.steps) {
      if (!files.has(file)) throw invalid(`The archive has no ${file} for the step ${name}`);
    }
  }

  async install(
    image: string,
    _: Slot,
    { job, release }: Installing,
    { step, onProgress, signal }: InstallContext,
  ): Promise<Trial> {
    // Two of one step at once would be worse than one that is cut off.
    await endLeftovers(this.#owner, endGraceMs);
    const folder = await this.#unpack(image, job, signal);
    const steps = release.steps.filter(({ name }) => name !== undoStep);
    for (const [index, taken] of steps.entries()) {
      onProgress((index * 100) / steps.length);
      await step(taken.name, () => this.#run(taken, folder, job, signal));
    }
    onProgress(100);
    const { deadlineMs, maxStarts } = this.#options;
    const { machine } = this.#deps;
    // Steps may have been taken over several boots: only one after the last of them counts.
    const since = machine.restart === null ? null : await machine.bootId();
    return { deadlineMs, maxStarts, since };
  }

  async undo(image: string, { job, release }: Undoing, signal: AbortSignal): Promise<void> {
    await this.#trial.stop();
    await endLeftovers(this.#owner, endGraceMs);
    const taken = release.steps.find(({ name }) => name === undoStep);
    if (taken === undefined) return;
    await this.#run(taken, await this.#unpack(image, job, signal), job, signal);
  }

  bootId(): Promise<string> {
    return this.#deps.machine.bootId();
  }

  restart(_: Undoing, since: string, signal: AbortSignal): Promise<void> {
    return restartSince(this.#deps.machine, since, signal);
  }

  async run(slot: Slot, _: InstalledApp, trial: Trial | null): Promise<void> {
    if (trial === null) await this.#trial.stop();
    else if (await this.#trial.isBeforeRestart(trial)) await this.#trial.restart(slot);
    else await this.#trial.watch(slot, trial);
  }

  async stop(): Promise<void> {
    await this.#trial.stop();
  }

  async discard(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.#trial.stop();
  }

  get #owner(): string {
    return this.#options.directory;
  }

  /** What has its name was unpacked whole; unpacked again, it would lose what a step has kept there for its undoing. */
  async #unpack(image: string, { sha256 }: UpdateJob, signal: AbortSignal): Promise<string> {
    const folder = join(this.#folder, sha256);
    const isWhole = await access(folder).then(
      () => true,
      () => false,
    );
    if (isWhole) return folder;
    await mkdir(this.#folder, { recursive: true });
    await unpackArchive(image, `${folder}.new`, signal);
    await rename(`${folder}.new`, folder);
    await syncPath(this.#folder);
    return folder;
  }

  async #run(
    { name, file, timeoutMs }: ReleaseStep,
    folder: string,
    job: UpdateJob,
    signal: AbortSignal,
  ): Promise<void> {
    const { environment } = this.#options;
    const { log } = this.#deps;
    try {
      await runCommand({
        command: [join(folder, file)],
        cwd: folder,
        environment: {
          ...environment,
          HOLDFAST_STEP: name,
          HOLDFAST_VERSION: job.version,
          HOLDFAST_JOB: job.id,
        },
        owner: this.#owner,
        timeoutMs,
        said: (line) => log.info({ step: name, line }, 'step'),
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      throw new HoldfastError('UPDATE_INSTALL_FAILED', `${name}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}

const invalid = (message: string) => new HoldfastError('UPDATE_MANIFEST_INVALID', message);
