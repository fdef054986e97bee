import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

/**
 * Lets work on one key be done one after the other and work on different keys side by side. Bounded: of one key at most
 * `maxWaiting` wait, the next is refused with REQUEST_THROTTLED. Who comes one at a time may wait `beyond` that.
 */
export class Turns {
  readonly #last = new Map<string, { done: Promise<void>; waiting: number }>();
  readonly #maxWaiting: number;

  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting;
  }

  async take<T>(key: string, work: () => Promise<T>, beyond = 0): Promise<T> {
    const line = this.#last.get(key) ?? { done: Promise.resolve(), waiting: 0 };
    if (line.waiting >= this.#maxWaiting + beyond) {
      throw new HoldfastError('REQUEST_THROTTLED', 'too many requests about one thing at once');
    }
    line.waiting += 1;
    this.#last.set(key, line);
    const result = line.done.then(work);
    line.done = result.then(ignore, ignore).then(() => {
      line.waiting -= 1;
      if (line.waiting === 0) this.#last.delete(key);
    });
    return result;
  }

  /** Resolves when nothing is under way and nothing waits. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.all([...this.#last.values()].map(({ done }) => done));
  }
}

const ignore = (): void => undefined;
