/**
 * Bytes of publishes that are being worked on, of all clients together: who finds the budget spent waits its turn, unread, so that
 * no load grows the broker without bound.
 */
export class InflightBudget {
  readonly #limitBytes: number;
  readonly #waiting = new Map<object, () => void>();
  #usedBytes = 0;
  #isScheduled = false;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Takes bytes, or calls `later` once when it is worth asking again. One batch always fits into an empty budget. */
  take(holder: object, bytes: number, later: () => void): boolean {
    if (this.#usedBytes > 0 && this.#usedBytes + bytes > this.#limitBytes) {
      this.#waiting.set(holder, later);
      return false;
    }
    this.#usedBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
    if (this.#waiting.size === 0 || this.#isScheduled) return;
    this.#isScheduled = true;
    // Not from within the caller: a chain of give and take on one stack is how a broker dies of its own load.
    setImmediate(() => this.#wake());
  }

  forget(holder: object): void {
    this.#waiting.delete(holder);
  }

  #wake(): void {
    this.#isScheduled = false;
    for (const [holder, later] of [...this.#waiting]) {
      if (this.#usedBytes >= this.#limitBytes) return;
      this.#waiting.delete(holder);
      later();
    }
  }
}
