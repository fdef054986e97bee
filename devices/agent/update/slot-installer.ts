/**
 * The installer `slots`: application archives in two slots (`slots/a`, `slots/b`), one of which this agent runs.
 *
 * Errors of `inspect`: `UPDATE_ARCHIVE_REFUSED`, `UPDATE_MANIFEST_INVALID`, the last also when the archive holds another version than
 * the job names.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type AppManifest, manifestName, parseManifest } from './app-manifest.js';
import { inspectArchive, unpackArchive } from './archive.js';
import type { Installer } from './installer.js';
import type { Supervisor } from './supervisor.js';
import type { InstalledApp, Installing, Release, Slot, Trial, UpdateJob } from './update-state.js';
import type { InstallContext } from './updater.js';

export interface SlotInstallerDeps {
  readonly supervisor: Supervisor;
}

export interface SlotInstallerOptions {
  readonly directory: string;
}

export class SlotInstaller implements Installer {
  readonly name = 'slots';
  readonly #deps: SlotInstallerDeps;
  readonly #directory: string;
  readonly #bootId = randomUUID();

  constructor(deps: SlotInstallerDeps, options: SlotInstallerOptions) {
    this.#deps = deps;
    this.#directory = options.directory;
  }

  async inspect(image: string, job: UpdateJob, _: Release, signal: AbortSignal): Promise<void> {
    const { version } = await inspectArchive(image, signal);
    if (version !== job.version) {
      const message = `The archive holds version ${version}, not ${job.version}`;
      throw new HoldfastError('UPDATE_MANIFEST_INVALID', message);
    }
  }

  /** Without a step that is committed: until the pointer moves nothing of it counts, and it is simply done anew. */
  async install(
    image: string,
    slot: Slot,
    _: Installing,
    { signal, onProgress }: InstallContext,
  ): Promise<Trial> {
    await unpackArchive(image, this.#slot(slot), signal, { onProgress });
    const { deadline_s, max_starts } = await this.#manifest(slot);
    // Whole, as the record has it: 16.1 times 1,000 is not.
    return { deadlineMs: Math.ceil(deadline_s * 1_000), maxStarts: max_starts, since: null };
  }

  /** The application's own start is the proof here; the machine goes on. */
  async bootId(): Promise<string> {
    return this.#bootId;
  }

  async restart(): Promise<void> {
    // The machine goes on.
  }

  async run(slot: Slot, app: InstalledApp, trial: Trial | null): Promise<void> {
    await this.#deps.supervisor.run({
      key: runKey(slot, app),
      folder: this.#slot(slot),
      manifest: () => this.#manifest(slot),
      deadlineMs: trial?.deadlineMs ?? null,
    });
  }

  stop(): Promise<void> {
    return this.#deps.supervisor.stop();
  }

  close(): Promise<void> {
    return this.#deps.supervisor.close();
  }

  async #manifest(slot: Slot): Promise<AppManifest> {
    return parseManifest(await readFile(join(this.#slot(slot), manifestName)));
  }

  #slot(slot: Slot): string {
    return join(this.#directory, 'slots', slot);
  }
}

/** One installation in one slot; the slot comes first so that it can be read back. */
const runKey = (slot: Slot, app: InstalledApp): string => `${slot} ${app.sha256}`;

/** The slot that a supervisor's event is about. */
export const slotOfRun = (key: string): Slot => (key.startsWith('a') ? 'a' : 'b');
