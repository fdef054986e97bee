/** A line that cannot be had is told and tried again; nothing else waits for it. */
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { wait as waitFor } from '@holdfast/provisioning/time/wait';
import { nameOfLine } from './gpio-lines.js';
import type { IoDeps } from './io-deps.js';
import type { NamedLine } from './line-settings.js';

export const retryAfterMs = 5_000;

export class KeptLine {
  readonly #deps: IoDeps;
  readonly #line: NamedLine;
  readonly #closing = new AbortController();
  #problem: string | null = null;
  #running: Promise<void> | undefined;

  constructor(deps: IoDeps, line: NamedLine) {
    this.#deps = deps;
    this.#line = line;
  }

  /** Why it does not work; null while it does. */
  get problem(): string | null {
    return this.#problem;
  }

  get isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  /** Has `work` done until the end, again a moment after it failed. */
  keep(work: (signal: AbortSignal) => Promise<void>): void {
    this.#running ??= this.#keep(work);
  }

  works(): void {
    if (this.#problem === null) return;
    this.#problem = null;
    const { log, changed } = this.#deps;
    log.info({ line: this.#line.name, at: nameOfLine(this.#line) }, 'a GPIO line works again');
    changed();
  }

  failed(error: unknown): void {
    const isNews = this.#problem === null;
    this.#problem = messageOf(error);
    if (!isNews) return;
    const next = isHoldfastError(error) ? error.data.next : undefined;
    this.#deps.log.warn(
      {
        ...{ err: error, line: this.#line.name, at: nameOfLine(this.#line) },
        ...(next !== undefined && { next }),
      },
      'a GPIO line does not work; it is tried again',
    );
    this.#deps.changed();
  }

  /** Resolves when what was under way is over. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #keep(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const { wait = waitFor } = this.#deps;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await work(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.failed(error);
      }
      await wait(retryAfterMs, signal).catch(() => undefined);
    }
  }
}
