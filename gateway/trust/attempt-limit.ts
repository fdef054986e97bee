/** Bounds failed attempts by where they come from: a bucket an address, refilled with time. */
export interface AttemptLimitOptions {
  /** Failures that an address has free. */
  readonly burst: number;
  /** How long until one failure is forgiven, ms. */
  readonly refillMs: number;
  /** Addresses remembered at most; the one that failed longest ago is forgotten first. */
  readonly maxAddresses?: number;
}

export class AttemptLimit {
  readonly #options: Required<AttemptLimitOptions>;
  /** When the bucket of an address will be full again, by a monotonic clock; in the order of the last failure. */
  readonly #fullAt = new Map<string, number>();

  constructor(options: AttemptLimitOptions) {
    this.#options = { maxAddresses: 10_000, ...options };
  }

  /** Milliseconds until this address may try again; 0 when it may now. */
  delayMs(address: string, now: number): number {
    const { burst, refillMs } = this.#options;
    const fullAt = this.#fullAt.get(address) ?? now;
    return Math.max(0, fullAt - now - (burst - 1) * refillMs);
  }

  failed(address: string, now: number): void {
    const { refillMs, maxAddresses } = this.#options;
    const fullAt = Math.max(now, this.#fullAt.get(address) ?? now) + refillMs;
    this.#fullAt.delete(address);
    this.#fullAt.set(address, fullAt);
    if (this.#fullAt.size <= maxAddresses) return;
    const [oldest] = this.#fullAt.keys();
    if (oldest !== undefined) this.#fullAt.delete(oldest);
  }
}
