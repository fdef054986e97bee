/**
 * The time by which sessions, messages and wills expire. It runs with the monotonic clock while the broker runs, and over a stop by wall
 * time that is trusted: a clock that jumps, or starts in 1970, expires nothing.
 */
import type { Clock } from '@holdfast/provisioning/time/clock';

/** What the next start goes on from. */
export interface ElapsedRecord {
  /** Milliseconds since the first start. */
  readonly elapsed: number;
  /** Wall time when it was recorded, epoch ms; null when no trusted time was known. */
  readonly wall: number | null;
}

export class ElapsedTime {
  readonly #clock: Clock;
  readonly #startedAt: number;
  #base: number;
  /** Wall time of the record, as long as it is not known how long ago that was. */
  #recordedAt: number | null;

  constructor(clock: Clock, record: ElapsedRecord = { elapsed: 0, wall: null }) {
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
    this.#base = record.elapsed;
    this.#recordedAt = record.wall;
  }

  /** Milliseconds since the first start; what the program was stopped for counts once the time is known. */
  readonly now = (): number => {
    const ran = this.#ran;
    if (this.#recordedAt !== null && this.#clock.trusted) {
      this.#base += Math.max(0, this.#clock.now() - ran - this.#recordedAt);
      this.#recordedAt = null;
    }
    return Math.floor(this.#base + ran);
  };

  record(): ElapsedRecord {
    const elapsed = this.now();
    if (this.#clock.trusted) return { elapsed, wall: this.#clock.now() };
    return { elapsed, wall: this.#recordedAt === null ? null : this.#recordedAt + this.#ran };
  }

  get #ran(): number {
    return this.#clock.monotonic() - this.#startedAt;
  }
}
