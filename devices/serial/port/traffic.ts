/** What passes on a line, counted, and shown to whoever listens in. */
export type Direction = 'in' | 'out';

/**
 * Called as the bytes pass, in the middle of the driver's work: whatever takes time is to be done later. The bytes are only good until
 * it returns. What it throws is dropped.
 */
export type Tap = (direction: Direction, bytes: Buffer, atMs: number) => void;

export class Traffic {
  readonly #now: () => number;
  readonly #taps = new Set<Tap>();
  #bytesIn = 0;
  #bytesOut = 0;

  /** `now` is epoch ms. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get counts(): { readonly bytesIn: number; readonly bytesOut: number } {
    return { bytesIn: this.#bytesIn, bytesOut: this.#bytesOut };
  }

  /** Returns how to end it. */
  tap(listener: Tap): () => void {
    // A listener that comes twice is two.
    const tap: Tap = (...passed) => listener(...passed);
    this.#taps.add(tap);
    return () => this.#taps.delete(tap);
  }

  passed(direction: Direction, bytes: Uint8Array): void {
    if (direction === 'in') this.#bytesIn += bytes.length;
    else this.#bytesOut += bytes.length;
    if (this.#taps.size === 0) return;
    const at = this.#now();
    const seen = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (const tap of this.#taps) {
      try {
        tap(direction, seen, at);
      } catch {
        // Whoever listens in is nothing to the line.
      }
    }
  }
}
