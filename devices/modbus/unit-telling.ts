/** What is told of a unit: one thing after the other while the bus goes on, and nothing that one of its stays began in the next. */
export class UnitTelling {
  readonly #failed: (error: unknown) => void;
  #stay = 0;
  #untold = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Another number after each `leave`. */
  get stay(): number {
    return this.#stay;
  }

  /** How much waits. */
  get untold(): number {
    return this.#untold;
  }

  /** Resolves when all was told that was there to tell. */
  get settled(): Promise<void> {
    return this.#last;
  }

  leave(): void {
    this.#stay += 1;
  }

  /** `undo` is called when it could not be told, and the unit still stays. */
  tell(work: () => Promise<void>, undo: () => void = () => undefined): void {
    const stay = this.#stay;
    this.#untold += 1;
    this.#last = this.#last
      .then(work)
      .catch((error: unknown) => {
        this.#failed(error);
        if (stay === this.#stay) undo();
      })
      .finally(() => {
        this.#untold -= 1;
      });
  }
}
