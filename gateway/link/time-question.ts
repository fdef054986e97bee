/**
 * Asks the control plane what time it is: after each welcome, whenever the clock is no longer trusted, and now and then. An answer counts
 * for the last question alone, and only when it came soon: half of the way there and back is what it may be wrong by.
 */
import { randomBytes } from 'node:crypto';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';

export interface TimeQuestionDeps {
  readonly clock: {
    readonly trusted: boolean;
    monotonic(): number;
    receiveSigned(time: number, errorMs: number): void;
    onChange(listener: () => void): () => void;
  };
  /** Epoch ms of an answer to this question; throws a HoldfastError. */
  readonly verify: (jws: string, nonce: string) => Promise<number>;
  readonly log: StoreLog;
}

export interface TimeQuestionOptions {
  /** The longest way there and back that is believed, ms. */
  readonly longestMs?: number;
  /** How often to ask while the clock is trusted, ms. */
  readonly everyMs?: number;
  /** How long to wait before a question that got no answer is asked again, ms. */
  readonly againMs?: number;
}

interface Question {
  readonly nonce: string;
  readonly askedAt: number;
}

export class TimeQuestion {
  readonly #deps: TimeQuestionDeps;
  readonly #options: Required<TimeQuestionOptions>;
  readonly #stop: () => void;
  #send: ((nonce: Buffer) => void) | undefined;
  #question: Question | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: TimeQuestionDeps, options: TimeQuestionOptions = {}) {
    this.#deps = deps;
    this.#options = { longestMs: 10_000, everyMs: 3_600_000, againMs: 30_000, ...options };
    this.#stop = deps.clock.onChange(() => {
      if (!deps.clock.trusted && this.#question === undefined) this.#ask();
    });
  }

  /** A connection is there. */
  begin(send: (nonce: Buffer) => void): void {
    this.#send = send;
    this.#ask();
  }

  /** Takes an answer. Never rejects: one that is not good is as none, and the question is asked again. */
  async receive(jws: string): Promise<void> {
    const { clock, verify, log } = this.#deps;
    const question = this.#question;
    const receivedAt = clock.monotonic();
    if (question === undefined) return;
    const tookMs = receivedAt - question.askedAt;
    if (tookMs > this.#options.longestMs) {
      log.warn({ tookMs: Math.round(tookMs) }, 'the time took too long to be believed');
      return;
    }
    try {
      const time = await verify(jws, question.nonce);
      // What checking it took has passed as well.
      const sinceMs = clock.monotonic() - receivedAt;
      if (this.#question !== question) return;
      this.#question = undefined;
      this.#wakeIn(this.#options.everyMs);
      clock.receiveSigned(time + tookMs / 2 + sinceMs, Math.ceil(tookMs / 2));
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'the time that the control plane told is refused');
    }
  }

  /** The connection is over. */
  end(): void {
    this.#send = undefined;
    this.#question = undefined;
    clearTimeout(this.#timer);
  }

  /** Idempotent. */
  close(): void {
    this.end();
    this.#stop();
  }

  #ask(): void {
    if (this.#send === undefined) return;
    const nonce = randomBytes(16);
    this.#question = { nonce: nonce.toString('hex'), askedAt: this.#deps.clock.monotonic() };
    this.#wakeIn(this.#options.againMs);
    this.#send(nonce);
  }

  #wakeIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), ms).unref();
  }
}
