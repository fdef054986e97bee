/** Whether a line is up, for who waits for it. */
export class LineWatch {
  #isUp = false;
  #reason = 'it was not looked for yet';
  readonly #waiting = new Set<() => void>();

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Why it is down. */
  get reason(): string {
    return this.#reason;
  }

  /** True when it is another state. */
  set(isUp: boolean, reason: string): boolean {
    const isNews = isUp !== this.#isUp;
    this.#isUp = isUp;
    this.#reason = reason;
    if (!isNews) return false;
    for (const wake of [...this.#waiting]) wake();
    return true;
  }

  /** Resolves while it is up; rejects with the signal's reason. */
  async up(signal: AbortSignal): Promise<void> {
    while (!this.#isUp) await this.#change(signal);
  }

  /** Whether it stayed up for so long. */
  async whileUp(ms: number, signal: AbortSignal): Promise<boolean> {
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), ms);
    const isOver = (): boolean => over.signal.aborted;
    try {
      if (!this.#isUp) return false;
      await this.#change(AbortSignal.any([signal, over.signal])).catch(() =>
        signal.throwIfAborted(),
      );
      return isOver();
    } finally {
      clearTimeout(timer);
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const done = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', abort);
      };
      const wake = (): void => {
        done();
        resolve();
      };
      const abort = (): void => {
        done();
        reject(signal.reason);
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', abort, { once: true });
    });
  }
}
