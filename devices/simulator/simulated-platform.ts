/** An update on a device that is simulated: the firmware is really downloaded and checked, the reboot only pretended. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { wait } from '@holdfast/provisioning/time/wait';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import { fetchFirmware } from '../agent/update/fetch-firmware.js';
import type { ReleaseCheck } from '../agent/update/image-platform.js';
import type {
  InstalledApp,
  Installing,
  Release,
  Slot,
  Trial,
  UpdateEvent,
  UpdateJob,
} from '../agent/update/update-state.js';
import type { UpdatePlatform } from '../agent/update/updater.js';
import { readOutcome, type SimulatedOutcome, simulatedOutcomes } from './simulated-outcome.js';

export interface SimulatedPlatformDeps {
  readonly gateway: { readonly baseUrl: () => string; readonly agent: () => Agent };
  readonly check: ReleaseCheck;
  readonly tell: (event: UpdateEvent) => void;
  /** A new run of the device: a new boot id, a new session. */
  readonly reboot: () => void;
}

export interface SimulatedPlatformOptions {
  readonly directory: string;
  /** How long the pretended boot takes. */
  readonly bootMs?: number;
}

/** Three tries would only take longer. */
const trial: Trial = { deadlineMs: 2_000, maxStarts: 2, since: null };

export class SimulatedPlatform implements UpdatePlatform {
  readonly #deps: SimulatedPlatformDeps;
  readonly #directory: string;
  readonly #bootMs: number;
  readonly #closing = new AbortController();
  #running: string | null = null;
  #booting = new AbortController();

  constructor(deps: SimulatedPlatformDeps, { directory, bootMs = 300 }: SimulatedPlatformOptions) {
    this.#deps = deps;
    this.#directory = directory;
    this.#bootMs = bootMs;
  }

  close(): void {
    this.#closing.abort();
  }

  async download(
    job: UpdateJob,
    signal: AbortSignal,
    onProgress: (percent: number) => void,
  ): Promise<void> {
    await this.#deps.check(job, 'begin', signal);
    await mkdir(this.#directory, { recursive: true });
    for (const name of await readdir(this.#directory)) {
      const isOld = name.startsWith('firmware-') && !name.includes(job.sha256);
      if (isOld) await rm(join(this.#directory, name), { force: true });
    }
    const { baseUrl, agent } = this.#deps.gateway;
    await fetchFirmware(
      {
        sha256: job.sha256,
        sizeBytes: job.sizeBytes,
        path: this.#firmware(job),
        url: () => new URL(job.url, baseUrl()).href,
      },
      { signal, onProgress, agent: agent() },
    );
  }

  async verify(job: UpdateJob, signal: AbortSignal): Promise<Release> {
    if ((await digestOf(this.#firmware(job), signal)) !== job.sha256) {
      throw new HoldfastError('UPDATE_DIGEST_MISMATCH', 'The downloaded file has changed');
    }
    return this.#deps.check(job, 'install', signal);
  }

  async install(slot: Slot, { job }: Installing): Promise<Trial> {
    await writeFile(this.#outcomeFile(slot), await readOutcome(this.#firmware(job)));
    return trial;
  }

  async undo(): Promise<void> {
    // Nothing is installed in place here.
  }

  async bootId(): Promise<string> {
    return 'simulated';
  }

  async restart(): Promise<void> {
    // The reboot is a part of what runs.
  }

  async run(slot: Slot, app: InstalledApp, onTrial: Trial | null): Promise<void> {
    const key = `${slot} ${app.sha256}`;
    const isFirst = this.#running === null;
    const isSame = this.#running === key && onTrial === null;
    this.#running = key;
    if (isSame) return;
    this.#booting.abort();
    this.#booting = new AbortController();
    // At the start of the process it is the process itself that booted.
    if (!isFirst) this.#deps.reboot();
    void this.#boot(slot, onTrial !== null, this.#booting.signal);
  }

  async stop(): Promise<void> {
    this.#booting.abort();
    this.#running = null;
  }

  async discard(job: UpdateJob): Promise<void> {
    await rm(this.#firmware(job), { force: true });
    await rm(`${this.#firmware(job)}.part`, { force: true });
  }

  async #boot(slot: Slot, isOnTrial: boolean, signal: AbortSignal): Promise<void> {
    try {
      await wait(this.#bootMs, AbortSignal.any([signal, this.#closing.signal]));
      const outcome = isOnTrial ? await this.#outcome(slot) : 'ok';
      if (outcome !== 'crash') this.#deps.tell({ type: 'launched', slot });
      if (outcome === 'ok') this.#deps.tell({ type: 'healthy', slot });
      else if (outcome === 'crash') this.#deps.tell({ type: 'exited', slot, error: 'it crashed' });
      else {
        await wait(trial.deadlineMs, AbortSignal.any([signal, this.#closing.signal]));
        this.#deps.tell({ type: 'overdue', slot });
      }
    } catch {
      // Another boot began, or the program ends.
    }
  }

  async #outcome(slot: Slot): Promise<SimulatedOutcome> {
    const text = await readFile(this.#outcomeFile(slot), 'utf8').catch(() => 'ok');
    return simulatedOutcomes.find((outcome) => outcome === text) ?? 'ok';
  }

  #firmware(job: UpdateJob): string {
    return join(this.#directory, `firmware-${job.sha256}`);
  }

  #outcomeFile(slot: Slot): string {
    return join(this.#directory, `outcome-${slot}`);
  }
}
