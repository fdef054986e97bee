/** Whose turn it is, one after the other in the order they came; who loses patience gives up its place. */
export class Turns {
  readonly #waiting: Turn[] = [];

  /** What the first in the row is there for; undefined where nobody is. */
  get first(): string | undefined {
    return this.#waiting[0]?.reason;
  }

  /** Resolves with how to end one's turn. Rejects with the signal's reason, and is out of the row then. */
  async take(reason: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const turn: Turn = { reason, begin: () => undefined };
    this.#waiting.push(turn);
    const end = (): void => {
      const index = this.#waiting.indexOf(turn);
      if (index === -1) return;
      this.#waiting.splice(index, 1);
      if (index === 0) this.#waiting[0]?.begin();
    };
    if (this.#waiting[0] === turn) return end;
    try {
      await abortable(signal, (resolve) => {
        turn.begin = resolve;
      });
      return end;
    } catch (error) {
      end();
      throw error;
    }
  }
}

interface Turn {
  readonly reason: string;
  begin: () => void;
}

/** A promise that the signal rejects. */
export const abortable = (
  signal: AbortSignal,
  begin: (resolve: () => void) => void,
): Promise<void> =>
  new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    begin(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
    if (signal.aborted) abort();
  });
