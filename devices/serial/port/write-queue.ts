/**
 * What waits to be written on a port: in order, in bounded memory, several pieces at once where they gather, each with a deadline.
 *
 * Errors: SERIAL_LINE_BUSY (full), SERIAL_LINE_DOWN (the port went, or took nothing in time, which ends it).
 */
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

export interface WriteQueueDeps {
  /** Resolves when the port took all of it; it may never settle once the port is gone. */
  readonly take: (bytes: Uint8Array) => Promise<void>;
  /** The port is of no use any more. */
  readonly fail: (reason: string) => void;
  /** How long so many bytes are on the wire at least. */
  readonly wireMs: (bytes: number) => number;
  /** How much longer than that the port may take. */
  readonly patienceMs?: number;
}

interface Waiting {
  readonly bytes: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const maxPendingBytes = 65_536;
/** Pieces that gathered go together, as far as they fit into this. */
const maxBatchBytes = 4_096;
const usualPatienceMs = 5_000;

export class WriteQueue {
  readonly #deps: WriteQueueDeps;
  readonly #waiting: Waiting[] = [];
  #taking: readonly Waiting[] = [];
  #pendingBytes = 0;
  #ended: HoldfastError | null = null;
  #idle: (() => void)[] = [];

  constructor(deps: WriteQueueDeps) {
    this.#deps = deps;
  }

  write(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (this.#pendingBytes + bytes.length > maxPendingBytes) {
      return Promise.reject(
        new HoldfastError('SERIAL_LINE_BUSY', 'The serial line takes no more for now'),
      );
    }
    return new Promise((resolve, reject) => {
      const piece: Waiting =
        signal === undefined
          ? { bytes, resolve, reject }
          : this.#heeding(signal, bytes, { resolve, reject });
      this.#pendingBytes += bytes.length;
      this.#waiting.push(piece);
      if (this.#taking.length === 0) void this.#pump();
    });
  }

  /** Resolves when nothing waits any more. SERIAL_LINE_DOWN. */
  async empty(): Promise<void> {
    if (this.#ended === null && this.#pendingBytes > 0) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
    if (this.#ended !== null) throw this.#ended;
  }

  /** The port is gone: so is everything that waits for it. */
  end(reason: string): void {
    if (this.#ended !== null) return;
    this.#ended = new HoldfastError('SERIAL_LINE_DOWN', `Not written: ${reason}`);
    for (const { reject } of [...this.#taking, ...this.#waiting]) reject(this.#ended);
    this.#waiting.length = 0;
    this.#wakeIdle();
  }

  /** A piece whose writer may lose patience; what the port is taking already, it takes. */
  #heeding(
    signal: AbortSignal,
    bytes: Uint8Array,
    { resolve, reject }: Pick<Waiting, 'resolve' | 'reject'>,
  ): Waiting {
    const giveUp = (): void => {
      const index = this.#waiting.indexOf(piece);
      if (index !== -1) {
        this.#waiting.splice(index, 1);
        this.#pendingBytes -= bytes.length;
      }
      reject(signal.reason);
    };
    const settled = (): void => signal.removeEventListener('abort', giveUp);
    const piece: Waiting = {
      bytes,
      resolve: () => {
        settled();
        resolve();
      },
      reject: (error) => {
        settled();
        reject(error);
      },
    };
    signal.addEventListener('abort', giveUp, { once: true });
    return piece;
  }

  async #pump(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#nextBatch();
      this.#taking = batch;
      const bytes = joined(batch);
      const { take, fail, wireMs, patienceMs = usualPatienceMs } = this.#deps;
      const deadline = patienceMs + wireMs(bytes.length);
      const timer = setTimeout(() => fail('it took no bytes in time'), deadline);
      try {
        await take(bytes);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        fail(messageOf(error));
      } finally {
        clearTimeout(timer);
      }
      this.#taking = [];
      this.#pendingBytes -= bytes.length;
      if (this.#ended !== null) return;
    }
    this.#wakeIdle();
  }

  #nextBatch(): Waiting[] {
    const batch: Waiting[] = [];
    let bytes = 0;
    for (;;) {
      const piece = this.#waiting[0];
      if (piece === undefined) return batch;
      bytes += piece.bytes.length;
      if (batch.length > 0 && bytes > maxBatchBytes) return batch;
      batch.push(piece);
      this.#waiting.shift();
    }
  }

  #wakeIdle(): void {
    const idle = this.#idle;
    this.#idle = [];
    for (const wake of idle) wake();
  }
}

const joined = (batch: readonly Waiting[]): Uint8Array => {
  const [first] = batch;
  return batch.length === 1 && first !== undefined
    ? first.bytes
    : Buffer.concat(batch.map(({ bytes }) => bytes));
};
