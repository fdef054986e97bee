/**
 * An update on this machine: application archives in two slots (`slots/a`, `slots/b`), one of which runs.
 *
 * Errors of `verify`: `UPDATE_DIGEST_MISMATCH`, `UPDATE_ARCHIVE_REFUSED`, `UPDATE_MANIFEST_INVALID`, the last also when the archive
 * holds another version than the job names.
 */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { partialOf } from '@holdfast/provisioning/transfer/download';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import { type AppManifest, manifestName, parseManifest } from './app-manifest.js';
import { inspectArchive, unpackArchive } from './archive.js';
import { fetchFirmware } from './fetch-firmware.js';
import type { Supervisor } from './supervisor.js';
import type { InstalledApp, Slot, Trial, UpdateJob } from './update-state.js';
import type { UpdatePlatform } from './updater.js';

export interface SlotPlatformDeps {
  readonly supervisor: Supervisor;
  /** The gateway's HTTPS address as it is now, and how to speak with it. */
  readonly gateway: { readonly baseUrl: () => string; readonly agent?: () => Agent };
}

export interface SlotPlatformOptions {
  readonly directory: string;
}

export class SlotPlatform implements UpdatePlatform {
  readonly #deps: SlotPlatformDeps;
  readonly #directory: string;

  constructor(deps: SlotPlatformDeps, options: SlotPlatformOptions) {
    this.#deps = deps;
    this.#directory = options.directory;
  }

  async download(
    job: UpdateJob,
    signal: AbortSignal,
    onProgress: (percent: number) => void,
  ): Promise<void> {
    await this.#sweep(job);
    const { baseUrl, agent } = this.#deps.gateway;
    await fetchFirmware(
      {
        sha256: job.sha256,
        sizeBytes: job.sizeBytes,
        path: this.#archive(job),
        url: () => new URL(job.url, baseUrl()).href,
      },
      { signal, onProgress, ...(agent && { agent: agent() }) },
    );
  }

  async verify(job: UpdateJob, signal: AbortSignal): Promise<void> {
    if ((await digestOf(this.#archive(job), signal)) !== job.sha256) {
      throw new HoldfastError('UPDATE_DIGEST_MISMATCH', 'The downloaded file has changed');
    }
    const { version } = await inspectArchive(this.#archive(job), signal);
    if (version !== job.version) {
      const message = `The archive holds version ${version}, not ${job.version}`;
      throw new HoldfastError('UPDATE_MANIFEST_INVALID', message);
    }
  }

  async install(job: UpdateJob, slot: Slot, signal: AbortSignal): Promise<Trial> {
    await unpackArchive(this.#archive(job), this.#slot(slot), signal);
    const { deadline_s, max_starts } = await this.#manifest(slot);
    return { deadlineMs: deadline_s * 1_000, maxStarts: max_starts };
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

  async discard(job: UpdateJob): Promise<void> {
    await rm(this.#archive(job), { force: true });
    await rm(partialOf(this.#archive(job)), { force: true });
  }

  /** What jobs before left behind, when the device stopped before it could clean up. */
  async #sweep(job: UpdateJob): Promise<void> {
    const folder = join(this.#directory, 'download');
    await mkdir(folder, { recursive: true });
    for (const name of await readdir(folder)) {
      if (!name.startsWith(job.sha256)) await rm(join(folder, name), { force: true });
    }
  }

  async #manifest(slot: Slot): Promise<AppManifest> {
    return parseManifest(await readFile(join(this.#slot(slot), manifestName)));
  }

  #archive(job: UpdateJob): string {
    return join(this.#directory, 'download', `${job.sha256}.tar.gz`);
  }

  #slot(slot: Slot): string {
    return join(this.#directory, 'slots', slot);
  }
}

/** One installation in one slot; the slot comes first so that it can be read back. */
const runKey = (slot: Slot, app: InstalledApp): string => `${slot} ${app.sha256}`;

/** The slot that a supervisor's event is about. */
export const slotOfRun = (key: string): Slot => (key.startsWith('a') ? 'a' : 'b');
