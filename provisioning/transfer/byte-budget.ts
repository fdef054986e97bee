/**
 * A bandwidth that several transfers share, as a bucket of tokens: what was taken beyond it is waited for afterwards, so a piece may be
 * of any size. The rate is asked for anew all the time, since people change it while a transfer is under way.
 */
import { type Wait, wait } from '../time/wait.js';

export interface ByteBudgetDeps {
  /** Milliseconds that never run back. */
  readonly monotonic: () => number;
  readonly wait?: Wait;
}

export interface ByteBudgetOptions {
  /** Null: as fast as it goes. */
  readonly bytesPerS: () => number | null;
}

/** So much of what was not used may be caught up on, ms. */
const burstMs = 1_000;
/** How long a change of the rate may go unnoticed, ms. */
const lookAgainMs = 1_000;

export class ByteBudget {
  readonly #monotonic: () => number;
  readonly #wait: Wait;
  readonly #bytesPerS: () => number | null;
  #level = 0;
  #at: number;

  constructor(deps: ByteBudgetDeps, { bytesPerS }: ByteBudgetOptions) {
    this.#monotonic = deps.monotonic;
    this.#wait = deps.wait ?? wait;
    this.#bytesPerS = bytesPerS;
    this.#at = deps.monotonic();
  }

  /** Accounts for bytes that came or are to go; resolves when the next may. Rejects with the signal's reason. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    this.#refill();
    this.#level -= bytes;
    for (;;) {
      const rate = this.#refill();
      if (rate === null || this.#level >= 0) return;
      await this.#wait(Math.min(lookAgainMs, Math.ceil((-this.#level * 1_000) / rate)), signal);
    }
  }

  #refill(): number | null {
    const rate = this.#bytesPerS();
    const now = this.#monotonic();
    if (rate === null) this.#level = 0;
    else {
      const most = (rate * burstMs) / 1_000;
      this.#level = Math.min(most, this.#level + (rate * (now - this.#at)) / 1_000);
    }
    this.#at = now;
    return rate;
  }
}
