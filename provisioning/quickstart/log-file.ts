/** The log of the quickstart's programs: one file of a bounded size, and the one before it. */
import { open, rename, stat } from 'node:fs/promises';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';

export interface LogFileOptions {
  readonly path: string;
  /** From here on the file goes to `<path>.previous`, and a new one begins; 10 MB. */
  readonly mostBytes?: number;
  /** Told once when it cannot be written; the lines from then on are lost. */
  readonly onFailure: (text: string) => void;
}

/** Lines that come while more than these wait for the disk are dropped. */
const mostHeldLines = 10_000;

export class LogFile {
  readonly #options: LogFileOptions;
  #held: string[] = [];
  #writing: Promise<void> | undefined;
  #hasFailed = false;

  constructor(options: LogFileOptions) {
    this.#options = options;
  }

  write(line: string): void {
    if (this.#hasFailed || this.#held.length >= mostHeldLines) return;
    this.#held.push(`${line}\n`);
    this.#writing ??= this.#writeHeld();
  }

  /** Resolves when everything is written. */
  async close(): Promise<void> {
    await this.#writing;
  }

  async #writeHeld(): Promise<void> {
    try {
      while (this.#held.length > 0) {
        const text = this.#held.join('');
        this.#held = [];
        await this.#append(text);
      }
    } catch (error) {
      this.#hasFailed = true;
      this.#options.onFailure(`${this.#options.path}: ${messageOf(error)}`);
    } finally {
      this.#writing = undefined;
    }
  }

  async #append(text: string): Promise<void> {
    const { path, mostBytes = 10_000_000 } = this.#options;
    const size = await stat(path).then(
      (found) => found.size,
      () => 0,
    );
    if (size >= mostBytes) await rename(path, `${path}.previous`);
    const file = await open(path, 'a', 0o600);
    try {
      await file.appendFile(text);
    } finally {
      await file.close();
    }
  }
}
