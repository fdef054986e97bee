/** Runs what finishes in any order in the order it began: acknowledgements and deliveries of one client keep its order (3.1.1, 4.6). */
export class InOrder {
  readonly #places: Place[] = [];
  #head = 0;

  /** Nothing waits for anything before it. */
  get isEmpty(): boolean {
    return this.#places.length === 0;
  }

  /** Takes a place. */
  enter(): Place {
    const place: Place = { run: undefined };
    this.#places.push(place);
    return place;
  }

  /** Says, once, what to run for a place when everything before it has run. */
  settle(place: Place, run: () => void): void {
    place.run = run;
    if (this.#places[this.#head] === place) this.#advance();
  }

  /** As `enter` and `settle` in one. */
  run(run: () => void): void {
    if (this.isEmpty) run();
    else this.settle(this.enter(), run);
  }

  #advance(): void {
    for (;;) {
      const run = this.#places[this.#head]?.run;
      if (run === undefined) break;
      this.#head += 1;
      run();
    }
    if (this.#head === this.#places.length || this.#head > 1_024) {
      this.#places.splice(0, this.#head);
      this.#head = 0;
    }
  }
}

export interface Place {
  run: (() => void) | undefined;
}
