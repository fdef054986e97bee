/**
 * Hybrid logical time: wall clock where it can be trusted, a counter where it can't. Times only order writes; nobody
 * takes them for the time of day.
 */
export interface HybridTime {
  /** Epoch ms, of the highest trusted clock that had a part in it. */
  readonly wall: number;
  readonly counter: number;
}

/** What the clock of a replica says at the moment of a write. */
export interface ClockReading {
  /** Epoch ms. */
  readonly now: number;
  /** Whether `now` may be believed (DESIGN.md, "Time"). */
  readonly trusted: boolean;
}

/** How far a time seen may be ahead of a trusted clock and still lead it: 5 minutes. */
export const defaultMaxDriftMs = 300_000;

export const zeroTime: HybridTime = { wall: 0, counter: 0 };

export const compareTimes = (a: HybridTime, b: HybridTime): number =>
  a.wall - b.wall || a.counter - b.counter;

export const laterOf = (a: HybridTime, b: HybridTime): HybridTime =>
  compareTimes(a, b) >= 0 ? a : b;

/**
 * The time of a new write: above everything it overwrites, always; above everything its replica has seen, unless that
 * is further ahead of a trusted clock than `maxDriftMs`. So one peer with a clock in the future keeps what it wrote
 * until someone overwrites that very leaf, and doesn't drag every later stamp with it. A clock that isn't trusted adds
 * no wall time: the highest time seen, counter + 1.
 */
export const mintTime = (
  { seen, overwritten }: { readonly seen: HybridTime; readonly overwritten: HybridTime },
  clock: ClockReading,
  maxDriftMs: number = defaultMaxDriftMs,
): HybridTime => {
  const leads = !clock.trusted || seen.wall <= clock.now + maxDriftMs;
  const last = leads ? laterOf(seen, overwritten) : overwritten;
  return clock.trusted && clock.now > last.wall
    ? { wall: clock.now, counter: 0 }
    : { wall: last.wall, counter: last.counter + 1 };
};
