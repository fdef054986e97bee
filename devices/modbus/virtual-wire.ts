/** A wire in virtual time, for tests: what is written is heard at once, what is answered after as long as a unit takes. */
import type { BytePort, BytesListener } from '../serial/port/byte-port.js';
import type { Timers } from './timers.js';

/** Time that passes when somebody waits for it, and nobody has anything else to do. */
export class VirtualTime implements Timers {
  #now = 0;
  readonly #due = new Set<{ at: number; call: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    const one = { at: this.#now + ms, call };
    this.#due.add(one);
    return () => this.#due.delete(one);
  }

  /** Lets so much of it pass, one thing after the other. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      // Promises may want several rounds.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const [first] = [...this.#due].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (first === undefined) break;
      this.#due.delete(first);
      this.#now = Math.max(this.#now, first.at);
      first.call();
    }
    this.#now = end;
  }
}

/** The bytes that answer a request, each after so many ms. */
export type Answers = (
  request: Buffer,
) => readonly { readonly bytes: Buffer; readonly afterMs: number }[];

export class VirtualWire implements BytePort {
  readonly gone: Promise<string>;
  /** What was written, with when. */
  readonly requests: { readonly at: number; readonly bytes: Buffer }[] = [];
  #listener: BytesListener | null = null;
  readonly #time: VirtualTime;
  readonly #answers: Answers;
  #resolveGone: (reason: string) => void = () => undefined;

  constructor(time: VirtualTime, answers: Answers) {
    this.#time = time;
    this.#answers = answers;
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
  }

  onBytes(listener: BytesListener | null): void {
    this.#listener = listener;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const request = Buffer.from(bytes);
    this.requests.push({ at: this.#time.now(), bytes: request });
    for (const { bytes: answer, afterMs } of this.#answers(request)) {
      this.#time.after(afterMs, () => this.say(answer));
    }
  }

  /** Bytes that nobody asked for. */
  say(bytes: Buffer): void {
    void this.#listener?.(bytes);
  }

  /** It left with the call. */
  async drain(): Promise<void> {
    await undefined;
  }

  async change(): Promise<void> {
    await undefined;
  }

  async setModemLines(): Promise<boolean> {
    return false;
  }

  fail(reason: string): void {
    this.#resolveGone(reason);
  }
}
