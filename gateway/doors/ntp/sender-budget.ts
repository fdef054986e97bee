/** How many answers a sender gets: a few at once, as clients do at their start, then one every two seconds. Of so many senders at most. */

export interface SenderBudgetOptions {
  readonly burst?: number;
  readonly everyMs?: number;
  /** Senders that are remembered; the one that was silent longest is forgotten. */
  readonly maxSenders?: number;
}

export class SenderBudget {
  readonly #burst: number;
  readonly #everyMs: number;
  readonly #maxSenders: number;
  /** When a sender has all of it again, by a monotonic clock; in the order of the last question. */
  readonly #fullAt = new Map<string, number>();

  constructor({ burst = 16, everyMs = 2_000, maxSenders = 10_000 }: SenderBudgetOptions = {}) {
    this.#burst = burst;
    this.#everyMs = everyMs;
    this.#maxSenders = maxSenders;
  }

  /** Whether one more is left. */
  take(sender: string, now: number): boolean {
    const fullAt = Math.max(now, this.#fullAt.get(sender) ?? now);
    if (fullAt - now > (this.#burst - 1) * this.#everyMs) return false;
    this.#fullAt.delete(sender);
    this.#fullAt.set(sender, fullAt + this.#everyMs);
    if (this.#fullAt.size > this.#maxSenders) {
      for (const oldest of this.#fullAt.keys()) {
        this.#fullAt.delete(oldest);
        break;
      }
    }
    return true;
  }
}
