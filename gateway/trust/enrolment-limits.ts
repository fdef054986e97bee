/**
 * Slows down who tries to enrol and fails, by address, without locking out the others of a site that stand behind the same one.
 *
 * A code has 80 random bits, so guessing is no danger that a limit would have to avert: what it has to bound is work and noise. So a
 * device that fails ten times is told to wait, and is looked at nevertheless: whoever comes with a good code is let in
 * however many others fail beside it. Only an address that goes on beyond ten failures a second is not looked at, and is again a
 * moment after it stops.
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { AttemptLimit } from './attempt-limit.js';

export class EnrolmentLimits {
  readonly #clock: Pick<Clock, 'monotonic'>;
  /** Ten mistyped codes at once, then one every six seconds, are told what is wrong with them. */
  readonly #told = new AttemptLimit({ burst: 10, refillMs: 6_000 });
  readonly #lookedAt = new AttemptLimit({ burst: 100, refillMs: 100 });

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** Errors: TOO_MANY_ATTEMPTS with `retryAfterMs`, and what `attempt` throws. */
  async guard<T>(address: string, attempt: () => Promise<T>): Promise<T> {
    const floodMs = this.#lookedAt.delayMs(address, this.#clock.monotonic());
    if (floodMs > 0) throw tooMany(floodMs);
    try {
      return await attempt();
    } catch (error) {
      if (!isHoldfastError(error) || error.isRetryable) throw error;
      const now = this.#clock.monotonic();
      this.#lookedAt.failed(address, now);
      const delayMs = this.#told.delayMs(address, now);
      if (delayMs > 0) throw tooMany(delayMs, error);
      this.#told.failed(address, now);
      throw error;
    }
  }
}

const tooMany = (delayMs: number, cause?: Error) =>
  new HoldfastError(
    'TOO_MANY_ATTEMPTS',
    `too many attempts to enrol failed: try again in ${Math.ceil(delayMs / 1000)} s`,
    { data: { retryAfterMs: delayMs }, cause },
  );
