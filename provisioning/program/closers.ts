/** What was opened, closed in reverse and within a limit. */
import { withDeadline } from '../time/deadline.js';
import type { Logger } from './logger.js';

interface Closer {
  readonly name: string;
  readonly close: () => Promise<void> | void;
}

const defaultLimitMs = 10_000;

export class Closers {
  readonly #log: Pick<Logger, 'error'>;
  readonly #limitMs: number;
  #closers: Closer[] = [];

  constructor(
    { log }: { readonly log: Pick<Logger, 'error'> },
    { limitMs = defaultLimitMs }: { readonly limitMs?: number | undefined } = {},
  ) {
    this.#log = log;
    this.#limitMs = limitMs;
  }

  add(name: string, close: () => Promise<void> | void): void {
    this.#closers.push({ name, close });
  }

  /** Closes the last first; says whether all closed in time. What fails is logged. Idempotent. */
  async close(): Promise<boolean> {
    const closers = this.#closers.reverse();
    this.#closers = [];
    let isClean = true;
    let closing = '';
    const closeAll = async (): Promise<void> => {
      for (const { name, close } of closers) {
        closing = name;
        try {
          await close();
        } catch (error) {
          isClean = false;
          this.#log.error({ err: error, part: name }, 'could not be closed');
        }
      }
    };
    try {
      await withDeadline(closeAll(), this.#limitMs, { doing: 'closing' });
    } catch (error) {
      isClean = false;
      this.#log.error({ err: error, part: closing }, 'did not close in time');
    }
    return isClean;
  }
}
