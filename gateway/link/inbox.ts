/** Messages that are worked on one after the other while more may come: bounded in bytes, given up as a whole. */
export interface InboxOptions<T> {
  /** Bytes that may wait. */
  readonly maxBytes: number;
  readonly work: (item: T, signal: AbortSignal) => Promise<void>;
  /** The rest is given up: the sender sent more than it may, or the work failed. */
  readonly onFailed: (error: unknown) => void;
}

export class Inbox<T> {
  readonly #options: InboxOptions<T>;
  readonly #controller = new AbortController();
  #queue: { readonly item: T; readonly bytes: number }[] = [];
  #bytes = 0;
  #running: Promise<void> | undefined;

  constructor(options: InboxOptions<T>) {
    this.#options = options;
  }

  put(item: T, bytes: number): void {
    if (this.#controller.signal.aborted) return;
    this.#queue.push({ item, bytes });
    this.#bytes += bytes;
    if (this.#bytes > this.#options.maxBytes) {
      this.close();
      this.#options.onFailed(new Error('more was sent than may wait'));
      return;
    }
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Gives up what waits and tells the work under way. */
  close(): void {
    this.#queue = [];
    this.#controller.abort(new Error('the connection is over'));
  }

  /** Resolves when the work under way is over. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#controller;
    for (let next = this.#queue[0]; next && !signal.aborted; next = this.#queue[0]) {
      try {
        await this.#options.work(next.item, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.close();
        this.#options.onFailed(error);
        return;
      }
      this.#queue.shift();
      this.#bytes -= next.bytes;
    }
  }
}
