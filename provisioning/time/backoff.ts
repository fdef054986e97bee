/** How long to wait between attempts: exponential with full jitter, so that a thousand clients do not come back at once. */

export interface BackoffOptions {
  /** Upper bound of the first delay, in milliseconds. */
  readonly firstMs: number;
  /** No delay is longer than this. */
  readonly mostMs: number;
  /** What the upper bound is multiplied by after each attempt. */
  readonly factor?: number;
  /** Ends after so many delays; without it the iterator is endless. */
  readonly attempts?: number;
  /** Uniform in [0, 1); `Math.random` unless a test says otherwise. */
  readonly entropy?: () => number;
}

/**
 * Delays in milliseconds, each uniform between 0 and a bound that grows up to `mostMs`. Begin a new iterator after a success.
 * Source: "full jitter" of the AWS Architecture Blog, "Exponential Backoff And Jitter".
 */
export function* backoff({
  firstMs,
  mostMs,
  factor = 2,
  attempts = Number.POSITIVE_INFINITY,
  entropy = Math.random,
}: BackoffOptions): Generator<number, void, void> {
  let bound = Math.min(firstMs, mostMs);
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    yield Math.round(entropy() * bound);
    bound = Math.min(bound * factor, mostMs);
  }
}
