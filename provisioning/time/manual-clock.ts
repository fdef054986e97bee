/** A clock that moves only when it is told to, for tests. */
import type { StampingClock } from './clock.js';
import type { Wait } from './wait.js';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

export class ManualClock implements StampingClock {
  #now: number;
  #monotonic = 0;
  #sleepers: Sleeper[] = [];
  trusted = true;
  boot = 'manual';

  /** `now` is epoch ms; the default is a day in 2026. */
  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now;
  }

  readonly now = (): number => this.#now;
  readonly monotonic = (): number => this.#monotonic;

  /** Moves both wall and monotonic time on and wakes those whose wait is over, in order. */
  advance(ms: number): void {
    this.#now += ms;
    this.#monotonic += ms;
    const due = this.#sleepers.filter(({ at }) => at <= this.#monotonic);
    this.#sleepers = this.#sleepers.filter(({ at }) => at > this.#monotonic);
    for (const { wake } of due.sort((a, b) => a.at - b.at)) wake();
  }

  /** Sets wall time alone, as an operator or NTP would; nobody is woken. */
  set(now: number): void {
    this.#now = now;
  }

  /** How many waits are pending: a test that wants to advance past one first sees that it is there. */
  get waiting(): number {
    return this.#sleepers.length;
  }

  readonly wait: Wait = (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = () => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason);
      };
      const sleeper: Sleeper = {
        at: this.#monotonic + ms,
        wake: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      this.#sleepers.push(sleeper);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
}
