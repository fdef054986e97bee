/**
 * The times of points that come without one. A point counts once by its series and time where it has no number, so two of them must not
 * get the same: the second of a millisecond gets the next one.
 */

export interface ArrivalTimesOptions {
  /** Series that are remembered; of the others two points may meet only when this many spoke within a millisecond. */
  readonly maxSeries?: number;
}

/** How far times may run ahead of the clock; from there on it was set back, and is believed. */
const mostAheadMs = 1_000;

export class ArrivalTimes {
  readonly #maxSeries: number;
  /** The last time given, by device and series; the one that was silent longest first. */
  readonly #last = new Map<string, number>();

  constructor({ maxSeries = 10_000 }: ArrivalTimesOptions = {}) {
    this.#maxSeries = maxSeries;
  }

  /** A time for a point that arrives now; epoch ms. */
  next(device: string, series: string, now: number): number {
    // No device id holds a slash.
    const key = `${device}/${series}`;
    const last = this.#last.get(key);
    const time = last !== undefined && last >= now && last - now < mostAheadMs ? last + 1 : now;
    this.#last.delete(key);
    this.#last.set(key, time);
    if (this.#last.size > this.#maxSeries) {
      for (const oldest of this.#last.keys()) {
        this.#last.delete(oldest);
        break;
      }
    }
    return time;
  }
}
