/**
 * Writes lines to a file descriptor without ever making the program wait for the reader. pino's own destination loops for ever in
 * `flushSync` when the reader is gone (EPIPE), and `process.stderr` blocks when the reader of a pipe stalls.
 */
import { write, writeSync } from 'node:fs';
import { withDeadline } from '../time/deadline.js';

export interface LogStreamOptions {
  readonly fd: number;
  /** Lines that come while more than this is held back are dropped, and their number is written later. */
  readonly mostHeldBytes?: number;
}

const retryMs = 20;

export class LogStream {
  readonly #fd: number;
  readonly #mostHeldBytes: number;
  /** What waits behind what is being written. */
  #held: string[] = [];
  #heldBytes = 0;
  #dropped = 0;
  #inFlight: Promise<void> | undefined;
  /** The reader is gone and there is nobody else to tell. */
  #isDead = false;

  constructor({ fd, mostHeldBytes = 4 * 1024 * 1024 }: LogStreamOptions) {
    this.#fd = fd;
    this.#mostHeldBytes = mostHeldBytes;
  }

  write(line: string): void {
    if (this.#isDead) return;
    if (this.#heldBytes > this.#mostHeldBytes) {
      this.#dropped += 1;
      return;
    }
    this.#held.push(line);
    this.#heldBytes += line.length;
    this.#inFlight ??= this.#drain();
  }

  /** Resolves when everything is written, or nobody reads, or after `limitMs`. */
  async flush(limitMs = 1_000): Promise<void> {
    if (this.#inFlight) await withDeadline(this.#inFlight, limitMs).catch(() => undefined);
  }

  /**
   * For a program that ends this instant: writes what can be written at once, perhaps ahead of what is being written. Not named
   * `flushSync`, which pino calls at every fatal line: a program that ends in order wants its lines in order.
   */
  writeLastWords(): void {
    try {
      if (!this.#isDead) writeSync(this.#fd, this.#take());
    } catch {
      this.#isDead = true;
    }
  }

  async #drain(): Promise<void> {
    while (this.#held.length > 0 && !this.#isDead) await this.#writeAll(Buffer.from(this.#take()));
    this.#inFlight = undefined;
  }

  #take(): string {
    if (this.#dropped > 0) {
      const msg = 'lines of the log were dropped: their reader was too slow';
      this.#held.push(`${JSON.stringify({ level: 'warn', dropped: this.#dropped, msg })}\n`);
      this.#dropped = 0;
    }
    const text = this.#held.join('');
    this.#held = [];
    this.#heldBytes = 0;
    return text;
  }

  async #writeAll(bytes: Buffer): Promise<void> {
    let rest = bytes;
    while (rest.length > 0 && !this.#isDead) {
      rest = rest.subarray(await this.#writeSome(rest));
    }
  }

  /** How much was written; 0 after a while when the pipe is full. */
  #writeSome(bytes: Buffer): Promise<number> {
    return new Promise((resolve) => {
      write(this.#fd, bytes, (error, written) => {
        if (error === null) resolve(written);
        else if (error.code === 'EAGAIN') setTimeout(resolve, retryMs, 0);
        else {
          this.#isDead = true;
          resolve(0);
        }
      });
    });
  }
}
