/**
 * Time as a dependency: everything that asks for it gets a `Clock`, so that a test can hold one in its hand.
 */
import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';

export interface Clock {
  /** Wall time in epoch milliseconds; it may jump either way. */
  now(): number;
  /** Whether wall time may decide that something has expired (DESIGN.md, "Time"). */
  readonly trusted: boolean;
  /** Milliseconds that never run back, for measuring how long something took. */
  monotonic(): number;
}

/** A clock that can say when something was, without knowing what time it is. */
export interface StampingClock extends Clock {
  /** Names the start of the machine from which `monotonic` counts. */
  readonly boot: string;
}

export interface SystemClockOptions {
  /** Wall time below this is known to be wrong; epoch ms. */
  readonly floorMs?: number;
}

/** The machine's clock; trusted while it is above the floor. For what keeps nothing: a gateway's is `openClock`. */
export const systemClock = ({ floorMs = 0 }: SystemClockOptions = {}): StampingClock => ({
  boot: randomUUID(),
  now: () => Date.now(),
  get trusted() {
    return Date.now() >= floorMs;
  },
  monotonic: () => performance.now(),
});
