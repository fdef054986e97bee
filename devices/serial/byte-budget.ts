/** How many bytes a second a line may bring: a bucket that holds one second's worth and refills steadily. */
export class ByteBudget {
  readonly #perSecond: number;
  readonly #now: () => number;
  #left: number;
  #at: number;

  /** `now` is a monotonic clock in ms. */
  constructor(bytesPerSecond: number, now: () => number = () => performance.now()) {
    this.#perSecond = bytesPerSecond;
    this.#now = now;
    this.#left = bytesPerSecond;
    this.#at = now();
  }

  /** Takes what arrived and says how long to read nothing, in ms; 0 while it is within the budget. */
  spend(bytes: number): number {
    const now = this.#now();
    this.#left = Math.min(
      this.#perSecond,
      this.#left + ((now - this.#at) * this.#perSecond) / 1_000,
    );
    this.#at = now;
    this.#left -= bytes;
    return this.#left >= 0 ? 0 : Math.ceil((-this.#left * 1_000) / this.#perSecond);
  }
}
