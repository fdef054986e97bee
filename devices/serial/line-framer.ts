/**
 * Cuts the bytes of a serial line into lines of text, in bounded memory whatever arrives.
 *
 * A line longer than the limit is thrown away up to its newline, so the framing is right again one newline after any garbage or
 * flood. What stands before the first `{` of a line is thrown away too: noise of a device that was just reset glues itself there.
 */
export interface LineFramerOptions {
  readonly maxLineBytes: number;
}

export interface FramingCounts {
  /** Bytes thrown away: noise before a line, overlong lines, lines that are not UTF-8. */
  readonly discardedBytes: number;
  readonly overlongLines: number;
}

const newline = 0x0a;
const openingBrace = 0x7b;

export class LineFramer {
  readonly #maxLineBytes: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  readonly #pending: Buffer[] = [];
  #pendingBytes = 0;
  #isDiscarding = false;
  #discardedBytes = 0;
  #overlongLines = 0;

  constructor(options: LineFramerOptions) {
    this.#maxLineBytes = options.maxLineBytes;
  }

  get counts(): FramingCounts {
    return { discardedBytes: this.#discardedBytes, overlongLines: this.#overlongLines };
  }

  /** Takes what arrived and gives the lines it completed; empty lines are no lines. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(newline, from);
      if (end === -1) break;
      const line = this.#endLine(chunk.subarray(from, end));
      if (line !== null) lines.push(line);
      from = end + 1;
    }
    this.#keep(chunk.subarray(from));
    return lines;
  }

  /** Forgets the line begun: what follows comes from another connection. */
  reset(): void {
    this.#discardedBytes += this.#pendingBytes;
    this.#pending.length = 0;
    this.#pendingBytes = 0;
    this.#isDiscarding = false;
  }

  #keep(part: Buffer): void {
    if (part.length === 0) return;
    if (this.#isDiscarding) {
      this.#discardedBytes += part.length;
    } else if (this.#pendingBytes + part.length > this.#maxLineBytes) {
      this.#discardedBytes += part.length;
      this.reset();
      this.#isDiscarding = true;
      this.#overlongLines += 1;
    } else {
      // Copied: a slice would keep the port's whole read buffer alive.
      this.#pending.push(Buffer.from(part));
      this.#pendingBytes += part.length;
    }
  }

  #endLine(last: Buffer): string | null {
    this.#keep(last);
    if (this.#isDiscarding) {
      this.#isDiscarding = false;
      return null;
    }
    const whole = Buffer.concat(this.#pending);
    this.#pending.length = 0;
    this.#pendingBytes = 0;
    const start = whole.indexOf(openingBrace);
    if (start === -1) {
      this.#discardedBytes += whole.length;
      return null;
    }
    this.#discardedBytes += start;
    try {
      return this.#decoder.decode(whole.subarray(start)).trimEnd();
    } catch {
      this.#discardedBytes += whole.length - start;
      return null;
    }
  }
}
