/**
 * An installer with the images that it installs: fetched over the LAN, checked against what the release keys signed, looked through,
 * handed over.
 *
 * Errors of `verify`: those of the check, `UPDATE_INSTALLER_MISMATCH`, `UPDATE_DIGEST_MISMATCH`, those of the installer's `inspect`.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import type { Log } from '../log.js';
import { fetchByDelta } from './fetch-by-delta.js';
import { fetchFirmware } from './fetch-firmware.js';
import type { Installer } from './installer.js';
import { KeptImages, keptImagesFolder } from './kept-images.js';
import type {
  InstalledApp,
  Installing,
  JobDelta,
  Release,
  Slot,
  Trial,
  Undoing,
  UpdateJob,
} from './update-state.js';
import type { Found, InstallContext, UpdatePlatform } from './updater.js';

/** Before a new update begins, or again before it is installed. */
export type CheckMoment = 'begin' | 'install';

/** What the release keys signed of an image; rejects, by name, what this device may not install. */
export type ReleaseCheck = (
  job: UpdateJob,
  moment: CheckMoment,
  signal: AbortSignal,
) => Promise<Release>;

export interface ImagePlatformDeps {
  readonly installer: Installer;
  readonly check: ReleaseCheck;
  /** The gateway's HTTPS address as it is now, and how to speak with it. */
  readonly gateway: { readonly baseUrl: () => string; readonly agent?: () => Agent };
  readonly log: Log;
}

/** Whole systems are large, and compressed inside: a delta of two of them is worth nothing, and the room is. */
const keptBy: readonly string[] = ['slots', 'script', 'flash'];

export class ImagePlatform implements UpdatePlatform {
  readonly #deps: ImagePlatformDeps;
  readonly #folder: string;
  readonly #kept: KeptImages;

  constructor(deps: ImagePlatformDeps, options: { readonly directory: string }) {
    this.#deps = deps;
    this.#folder = join(options.directory, 'download');
    const most = keptBy.includes(deps.installer.name) ? 2 : 0;
    this.#kept = new KeptImages({ folder: keptImagesFolder(options.directory), most });
  }

  async found(): Promise<Found | null> {
    return (await this.#deps.installer.found?.()) ?? null;
  }

  async download(
    job: UpdateJob,
    signal: AbortSignal,
    onProgress: (percent: number) => void,
  ): Promise<void> {
    await this.#sweep(job);
    // Before a byte is fetched: what is refused costs nothing then.
    await this.#check(job, 'begin', signal);
    const { log, gateway } = this.#deps;
    const urlOf = (path: string) => new URL(path, gateway.baseUrl()).href;
    const options = { signal, onProgress, ...(gateway.agent && { agent: gateway.agent() }) };
    const path = this.#image(job);
    const onFallback = (error: string) =>
      log.warn({ job: job.id, error }, 'a delta does not do; another way is taken');
    const onRebuilt = ({ fromSha256: from, sizeBytes }: JobDelta) =>
      log.info({ job: job.id, from, sizeBytes }, 'the image was made of a delta');
    const find = (sha256: string) => this.#kept.find(sha256);
    if (await fetchByDelta({ job, path, urlOf, find, onFallback, onRebuilt }, options)) return;
    const { sha256, sizeBytes } = job;
    await fetchFirmware({ sha256, sizeBytes, path, url: () => urlOf(job.url) }, options);
  }

  async verify(job: UpdateJob, signal: AbortSignal): Promise<Release> {
    // Again: it may have taken days to arrive, and been recalled meanwhile.
    const release = await this.#check(job, 'install', signal);
    if ((await digestOf(this.#image(job), signal)) !== job.sha256) {
      throw new HoldfastError('UPDATE_DIGEST_MISMATCH', 'The downloaded file has changed');
    }
    await this.#deps.installer.inspect(this.#image(job), job, release, signal);
    return release;
  }

  async install(slot: Slot, under: Installing, context: InstallContext): Promise<Trial> {
    const image = this.#image(under.job);
    const trial = await this.#deps.installer.install(image, slot, under, context);
    const problem = await this.#kept.keep(image, under.job.sha256);
    if (problem !== undefined) {
      this.#deps.log.warn({ job: under.job.id, problem }, 'no delta can be made of this image');
    }
    return trial;
  }

  async undo(under: Undoing, signal: AbortSignal): Promise<void> {
    await this.#deps.installer.undo?.(this.#image(under.job), under, signal);
  }

  bootId(): Promise<string> {
    return this.#deps.installer.bootId();
  }

  restart(under: Undoing, since: string, signal: AbortSignal): Promise<void> {
    return this.#deps.installer.restart(under, since, signal);
  }

  run(slot: Slot, app: InstalledApp, trial: Trial | null): Promise<void> {
    return this.#deps.installer.run(slot, app, trial);
  }

  stop(): Promise<void> {
    return this.#deps.installer.stop();
  }

  async discard(job: UpdateJob): Promise<void> {
    await this.#deps.installer.discard?.(job);
    await this.#remove((name) => name.startsWith(job.sha256));
  }

  async #check(job: UpdateJob, moment: CheckMoment, signal: AbortSignal): Promise<Release> {
    const release = await this.#deps.check(job, moment, signal);
    const { name } = this.#deps.installer;
    if (release.installer !== name) {
      const message = `It is made for the installer ${release.installer}, this device has ${name}`;
      throw new HoldfastError('UPDATE_INSTALLER_MISMATCH', message);
    }
    return release;
  }

  /** What jobs before left behind, when the device stopped before it could clean up. */
  async #sweep(job: UpdateJob): Promise<void> {
    await this.#remove((name) => !name.startsWith(job.sha256));
  }

  async #remove(isUnwanted: (name: string) => boolean): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    for (const name of await readdir(this.#folder)) {
      if (isUnwanted(name)) await rm(join(this.#folder, name), { force: true });
    }
  }

  #image(job: UpdateJob): string {
    return join(this.#folder, job.sha256);
  }
}
