/** What a bus does and how well: counts since it was opened, and its load over the last minute. */
import type { Timers } from './timers.js';

export interface BusCounts {
  readonly requests: number;
  readonly answers: number;
  /** Nothing came in time. */
  readonly timeouts: number;
  /** Something came that was no answer: a wrong checksum, noise, another protocol. */
  readonly garbled: number;
  /** By their code. */
  readonly exceptions: Readonly<Record<string, number>>;
  /** Answers that came when nobody waited for them, and were dropped. */
  readonly lateReplies: number;
  /** From the first byte asked to the last answered, of the last 256 answers; null before the first. */
  readonly roundTripP50Ms: number | null;
  readonly roundTripP99Ms: number | null;
  /** How much of the last minute somebody asked or was waited for. */
  readonly loadPercent: number;
}

const kept = 256;
const slotMs = 10_000;
const slots = 6;

export class BusStatistics {
  readonly #timers: Timers;
  readonly #openedAt: number;
  readonly #roundTrips: number[] = [];
  readonly #exceptions = new Map<number, number>();
  readonly #busyMs = new Float64Array(slots);
  #slot = 0;
  #requests = 0;
  #answers = 0;
  #timeouts = 0;
  #garbled = 0;
  #lateReplies = 0;

  constructor(timers: Timers) {
    this.#timers = timers;
    this.#openedAt = timers.now();
    this.#slot = Math.floor(this.#openedAt / slotMs);
  }

  get counts(): BusCounts {
    this.#turn();
    const sorted = [...this.#roundTrips].sort((a, b) => a - b);
    const at = (share: number): number | null =>
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null;
    const lookedAtMs = Math.min(slots * slotMs, this.#timers.now() - this.#openedAt);
    const busyMs = this.#busyMs.reduce((sum, one) => sum + one, 0);
    return {
      requests: this.#requests,
      answers: this.#answers,
      timeouts: this.#timeouts,
      garbled: this.#garbled,
      exceptions: Object.fromEntries(
        [...this.#exceptions].map(([code, count]) => [String(code), count]),
      ),
      lateReplies: this.#lateReplies,
      roundTripP50Ms: at(0.5),
      roundTripP99Ms: at(0.99),
      loadPercent: lookedAtMs <= 0 ? 0 : Math.min(100, (100 * busyMs) / lookedAtMs),
    };
  }

  asked(): void {
    this.#requests += 1;
  }

  answered(ms: number): void {
    this.#roundTrips[this.#answers % kept] = ms;
    this.#answers += 1;
    this.#busy(ms);
  }

  refused(code: number, ms: number): void {
    this.#exceptions.set(code, (this.#exceptions.get(code) ?? 0) + 1);
    this.answered(ms);
  }

  unanswered(isGarbled: boolean, ms: number): void {
    if (isGarbled) this.#garbled += 1;
    else this.#timeouts += 1;
    this.#busy(ms);
  }

  dropped(replies: number): void {
    this.#lateReplies += replies;
  }

  #busy(ms: number): void {
    this.#turn();
    const slot = this.#slot % slots;
    this.#busyMs[slot] = (this.#busyMs[slot] ?? 0) + ms;
  }

  /** Forgets what is over. */
  #turn(): void {
    const now = Math.floor(this.#timers.now() / slotMs);
    const passed = Math.min(slots, now - this.#slot);
    for (let i = 1; i <= passed; i += 1) this.#busyMs[(this.#slot + i) % slots] = 0;
    this.#slot = now;
  }
}
