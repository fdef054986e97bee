/** The latest value of each series, in memory, for people who look at a device. Bounded: the series untouched longest goes first. */
import type { TelemetryPoint } from './point.js';

export interface LatestValue {
  readonly series: string;
  readonly ts: number;
  readonly value: unknown;
}

export interface LatestValuesOptions {
  /** Bytes of all values, about. */
  readonly maxBytes?: number;
  /** Series of one device at most, so that one device cannot push the others out. */
  readonly maxSeriesPerDevice?: number;
}

interface Held {
  readonly latest: LatestValue;
  readonly isGuess: boolean;
  readonly bytes: number;
}

export class LatestValues {
  readonly #maxBytes: number;
  readonly #maxPerDevice: number;
  /** Devices and series in the order in which they were last written. */
  readonly #devices = new Map<string, Map<string, Held>>();
  #bytes = 0;

  constructor({ maxBytes = 32 * 1024 * 1024, maxSeriesPerDevice = 256 }: LatestValuesOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#maxPerDevice = maxSeriesPerDevice;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes a point that is kept as so many bytes. An older one than is there changes nothing: redelivered and late points come
   * out of order. Where a time is a guess, the later to come is the later.
   */
  set({ device, series, ts, value, stamp }: TelemetryPoint, bytes: number): void {
    const values = this.#devices.get(device) ?? new Map<string, Held>();
    const known = values.get(series);
    const isGuess = stamp !== undefined;
    if (known && !known.isGuess && !isGuess && known.latest.ts > ts) return;
    if (known) this.#drop(values, series);
    values.set(series, { latest: { series, ts, value }, isGuess, bytes });
    this.#bytes += bytes;
    if (values.size > this.#maxPerDevice) this.#dropFirst(values);
    this.#devices.delete(device);
    this.#devices.set(device, values);
    while (this.#bytes > this.#maxBytes) this.#dropOldest();
  }

  /** The latest values of a device, by series. */
  of(device: string): LatestValue[] {
    const values = [...(this.#devices.get(device)?.values() ?? [])].map(({ latest }) => latest);
    return values.sort((a, b) => (a.series < b.series ? -1 : 1));
  }

  #dropOldest(): void {
    const [oldest] = this.#devices;
    if (!oldest) return;
    const [device, values] = oldest;
    this.#dropFirst(values);
    if (values.size === 0) this.#devices.delete(device);
  }

  #dropFirst(values: Map<string, Held>): void {
    const [first] = values.keys();
    if (first !== undefined) this.#drop(values, first);
  }

  #drop(values: Map<string, Held>, series: string): void {
    this.#bytes -= values.get(series)?.bytes ?? 0;
    values.delete(series);
  }
}
