/** Runs what finishes in any order in the order it began: acknowledgements and deliveries of one client keep its order (3.1.1, 4.6). */
export class InOrder {
  readonly #slots: Slot[] = [];
  #head = 0;

  /** Takes a place; the answer is called once with what to run when everything before has run. */
  enter(): (run: () => void) => void {
    const slot: Slot = { run: undefined };
    this.#slots.push(slot);
    return (run) => {
      slot.run = run;
      if (this.#slots[this.#head] === slot) this.#advance();
    };
  }

  #advance(): void {
    for (;;) {
      const run = this.#slots[this.#head]?.run;
      if (run === undefined) break;
      this.#head += 1;
      run();
    }
    if (this.#head === this.#slots.length || this.#head > 1_024) {
      this.#slots.splice(0, this.#head);
      this.#head = 0;
    }
  }
}

interface Slot {
  run: (() => void) | undefined;
}
