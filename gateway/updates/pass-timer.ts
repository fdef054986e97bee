/** When the next pass is due: soon after something changed, or when a time comes. Passes run one after the other. */
import type { StoreLog } from '@holdfast/provisioning/storage/store';

export interface PassTimerDeps {
  /** One pass over everything that is not over; a rejection is tried again. */
  readonly pass: () => Promise<void>;
  /** When there is something to do although nothing happens; undefined when never. */
  readonly nextAt: () => number | undefined;
  /** Ms that never run back. */
  readonly time: () => number;
  readonly log: StoreLog;
}

export interface PassTimerOptions {
  /** How long changes are gathered before a pass, ms. */
  readonly passAfterMs: number;
}

/** After a pass that could not be committed (the disk is full). */
const retryPassMs = 1_000;
/** Timers cannot take longer delays. */
const longestDelayMs = 2 ** 31 - 1;

export class PassTimer {
  readonly #deps: PassTimerDeps;
  readonly #passAfterMs: number;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #running: Promise<void> | undefined;
  #isDue = false;
  #isClosed = false;

  constructor(deps: PassTimerDeps, { passAfterMs }: PassTimerOptions) {
    this.#deps = deps;
    this.#passAfterMs = passAfterMs;
  }

  /** Something changed. */
  soon(): void {
    this.#isDue = true;
    this.#wakeAt(this.#deps.time() + this.#passAfterMs);
  }

  /** Resolves after a pass that began from now on, or whose failure is to be tried again. */
  async now(): Promise<void> {
    this.#isDue = true;
    await this.#run();
    // The one that was under way may have looked for more just before.
    if (this.#isDue && !this.#isClosed) await this.#run();
  }

  /** Waits for the pass under way. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #wakeAt(at: number): void {
    if (this.#isClosed || at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    const delay = Math.min(Math.max(at - this.#deps.time(), 0), longestDelayMs);
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.#isDue = true;
      void this.#run();
    }, delay);
  }

  #run(): Promise<void> {
    this.#running ??= this.#passes().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #passes(): Promise<void> {
    const { pass, nextAt, time, log } = this.#deps;
    while (this.#isDue && !this.#isClosed) {
      this.#isDue = false;
      try {
        await pass();
      } catch (error) {
        log.warn({ err: error }, 'updates cannot go on now; they are tried again');
        this.#wakeAt(time() + retryPassMs);
        return;
      }
    }
    const at = nextAt();
    if (at !== undefined) this.#wakeAt(at);
  }
}
