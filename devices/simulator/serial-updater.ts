/**
 * The device's part of an update over a serial line (PROTOCOL.md, "Updates"): pulls the image into its flash, checks it, restarts into
 * it. It keeps one status that is not acknowledged, and forgets everything but the flash when it restarts.
 */
import type { DownFrame, JobFrame, JobStatusFrame, UpFrame } from '../serial/frames.js';
import type { SimulatedFlash } from './simulated-flash.js';

export interface SerialUpdaterDeps {
  readonly flash: SimulatedFlash;
  readonly say: (frame: UpFrame) => void;
  /** Another run of the device, with what the flash says that it runs. */
  readonly restart: () => void;
}

type Image = Extract<DownFrame, { t: 'image' }>;
type Answer = Extract<DownFrame, { t: 'ack' | 'nack' }>;
type Status = JobStatusFrame['status'];

const partBytes = 2_048;
const progressSteps = 10;
const finalStatuses: ReadonlySet<Status> = new Set([
  'succeeded',
  'failed',
  'rolled_back',
  'cancelled',
]);

export class SerialUpdater {
  readonly #deps: SerialUpdaterDeps;
  #job: JobFrame | null = null;
  /** The next byte that is wanted; null while none is. */
  #offset: number | null = null;
  #status: JobStatusFrame | null = null;
  /** One thing after the other: the flash is slower than the line. */
  #working: Promise<void> = Promise.resolve();

  constructor(deps: SerialUpdaterDeps) {
    this.#deps = deps;
  }

  offered(job: JobFrame): void {
    this.#then(async () => {
      // It goes on, or its outcome is not acknowledged yet.
      if (this.#job?.job_id === job.job_id) return this.resend();
      this.#job = job;
      const there = await this.#deps.flash.begin(job.sha256);
      this.#offset = there > job.size ? 0 : there;
      this.#report(job, 'downloading', { progress: this.#percent(job, this.#offset) });
      await this.#goOn(job, this.#offset);
    });
  }

  received({ job_id, offset, data }: Image): void {
    this.#then(async () => {
      const job = this.#job;
      if (job?.job_id !== job_id || offset !== this.#offset) return;
      const bytes = Buffer.from(data, 'base64');
      await this.#deps.flash.write(job.sha256, offset, bytes);
      this.#offset = offset + bytes.length;
      const progress = this.#percent(job, this.#offset);
      if (progress !== this.#percent(job, offset)) this.#report(job, 'downloading', { progress });
      await this.#goOn(job, this.#offset);
    });
  }

  answered({ t, job_id, status }: Answer): void {
    if (job_id === undefined) return;
    this.#then(async () => {
      if (this.#status?.job_id === job_id && this.#status.status === status) this.#status = null;
      const job = this.#job;
      if (job?.job_id !== job_id) return;
      if (t === 'nack') {
        this.#forget();
        // A status that is refused needs no further word.
        if (status === undefined) this.#report(job, 'cancelled');
      } else if (status === 'rebooting' && this.#status === null) await this.#restart(job);
      else if (status !== undefined && finalStatuses.has(status)) this.#forget();
    });
  }

  /** Says again what was not answered. */
  resend(): void {
    if (this.#status !== null) this.#deps.say(this.#status);
    if (this.#job !== null && this.#offset !== null) this.#fetch(this.#job, this.#offset);
  }

  /** The power went: only the flash is left. */
  reset(): void {
    this.#forget();
    this.#status = null;
  }

  async #goOn(job: JobFrame, offset: number): Promise<void> {
    if (offset < job.size) return this.#fetch(job, offset);
    this.#offset = null;
    const { flash } = this.#deps;
    this.#report(job, 'verifying');
    if (await flash.isWhole(job.sha256)) {
      this.#report(job, 'installing');
      this.#report(job, 'rebooting');
    } else {
      await flash.discard(job.sha256);
      this.#report(job, 'failed', { error: 'the image has another digest' });
    }
  }

  async #restart(job: JobFrame): Promise<void> {
    const { flash } = this.#deps;
    const outcome = await flash.outcome(job.sha256);
    const before = flash.version;
    if (outcome !== 'crash') await this.#boot(job, job.version);
    if (outcome === 'ok') return this.#report(job, 'succeeded');
    await this.#boot(job, before);
    const error = outcome === 'crash' ? 'it crashed' : 'it was not healthy';
    this.#report(job, 'rolled_back', { error });
  }

  /** The boot loader leaves word of what it was started for. */
  async #boot(job: JobFrame, version: string): Promise<void> {
    const { flash, restart } = this.#deps;
    await flash.boot(version);
    restart();
    this.#job = job;
  }

  #fetch({ job_id, size }: JobFrame, offset: number): void {
    this.#deps.say({ t: 'fetch', job_id, offset, length: Math.min(partBytes, size - offset) });
  }

  #report({ job_id }: JobFrame, status: Status, more: Partial<JobStatusFrame> = {}): void {
    this.#status = { ...more, t: 'job_status', job_id, status };
    this.#deps.say(this.#status);
  }

  #forget(): void {
    this.#job = null;
    this.#offset = null;
  }

  #percent({ size }: JobFrame, offset: number): number {
    return Math.floor((offset * progressSteps) / size) * (100 / progressSteps);
  }

  #then(work: () => Promise<void>): void {
    this.#working = this.#working.then(work).catch(() => this.reset());
  }
}
