/**
 * Lets one of many who have much to send write at a time, and everything else that the program has to do between two of them: a hundred
 * downloads delay a publish by one write, not by a hundred.
 */

/** Turns of the loop from one write to the next: a commit takes several, and would wait for a write at each. They cost next to nothing. */
const turnsApart = 4;

export class WriteTurns {
  readonly #waiting: (() => void)[] = [];
  #isDue = false;

  /** Resolves when it is one's turn, in the order of asking; what is written is to be written before anything else is awaited. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (!this.#isDue) this.#plan();
    });
  }

  #plan(): void {
    this.#isDue = true;
    let turns = 0;
    // Each after what has arrived meanwhile was dealt with.
    const turn = (): void => {
      turns += 1;
      if (turns < turnsApart) {
        setImmediate(turn);
        return;
      }
      this.#waiting.shift()?.();
      if (this.#waiting.length > 0) this.#plan();
      else this.#isDue = false;
    };
    setImmediate(turn);
  }
}
