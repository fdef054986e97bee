/** Calls each writer once at the end of the event loop's turn, so that what a turn writes to one peer is one system call. */
export class TurnFlush {
  #waiting: (() => void)[] = [];

  /** Calls `flush` later in this turn; the caller sees to it that it asks once. */
  add(flush: () => void): void {
    if (this.#waiting.push(flush) === 1) setImmediate(() => this.#run());
  }

  #run(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const flush of waiting) flush();
  }
}
