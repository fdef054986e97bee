/** Answers over HTTP that do not end by themselves, a JSON value a line: so many at a time, each until its reader goes or all of them end. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

export interface OpenAnswersOptions {
  /** What they are called: `watches`. */
  readonly name: string;
  readonly most: number;
}

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export class OpenAnswers {
  readonly #options: OpenAnswersOptions;
  readonly #open = new Set<AbortController>();

  constructor(options: OpenAnswersOptions) {
    this.#options = options;
  }

  /** Has `work` write the answer; its signal says that nobody reads any more. Errors: REQUEST_THROTTLED. */
  async answer(
    { response }: Pick<Exchange, 'response'>,
    work: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const { most, name } = this.#options;
    if (this.#open.size >= most) {
      throw new HoldfastError('REQUEST_THROTTLED', `${most} ${name} are open here already`);
    }
    const stop = new AbortController();
    this.#open.add(stop);
    response.once('close', () => stop.abort());
    // Who went while it was asked who he is closes nothing a second time.
    if (response.destroyed) stop.abort();
    try {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      await work(stop.signal);
      response.end();
    } finally {
      stop.abort();
      this.#open.delete(stop);
    }
  }

  /** Ends all of them. */
  close(): void {
    for (const stop of this.#open) stop.abort();
  }
}
