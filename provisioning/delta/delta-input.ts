/**
 * What a delta unpacks to, read piece by piece with a bounded total: a file of a few bytes may unpack to terabytes.
 *
 * Errors: UPDATE_DELTA_INVALID for what is no brotli, ends early, or unpacks to more than allowed; STORE_UNAVAILABLE when the file cannot
 * be read; the signal's reason.
 */
import { createReadStream } from 'node:fs';
import { createBrotliDecompress } from 'node:zlib';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

export interface DeltaInputOptions {
  readonly signal: AbortSignal;
  /** Unpacked. */
  readonly maxBytes: number;
}

const nothing = Buffer.alloc(0);

export class DeltaInput {
  readonly #signal: AbortSignal;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #maxBytes: number;
  #rest: Buffer = nothing;
  #unpackedBytes = 0;
  #failure: HoldfastError | undefined;
  readonly #end: () => void;

  private constructor(path: string, { signal, maxBytes }: DeltaInputOptions) {
    this.#signal = signal;
    this.#maxBytes = maxBytes;
    const file = createReadStream(path);
    const unpacked = createBrotliDecompress({ chunkSize: 64 * 1024 });
    const onAbort = () => this.#end();
    this.#end = () => {
      signal.removeEventListener('abort', onAbort);
      file.destroy();
      unpacked.destroy();
    };
    file.on('error', (cause) => {
      this.#failure = new HoldfastError('STORE_UNAVAILABLE', messageOf(cause), { cause });
      unpacked.destroy(this.#failure);
    });
    // A reader that waits is told by the iterator; one that does not would otherwise bring the process down.
    unpacked.on('error', () => undefined);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#chunks = file.pipe(unpacked)[Symbol.asyncIterator]();
  }

  static open(path: string, options: DeltaInputOptions): DeltaInput {
    options.signal.throwIfAborted();
    return new DeltaInput(path, options);
  }

  /** Exactly so many bytes, which must be few. */
  async take(bytes: number): Promise<Buffer> {
    if (this.#rest.length >= bytes) return this.#cut(bytes);
    const parts = [];
    for (let missing = bytes; missing > 0; ) {
      const part = await this.some(missing);
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** At least one byte and at most so many; its content may be changed. */
  async some(mostBytes: number): Promise<Buffer> {
    if (this.#rest.length === 0 && !(await this.#more())) throw invalid('it ends too early');
    return this.#cut(Math.min(mostBytes, this.#rest.length));
  }

  /** Errors: UPDATE_DELTA_INVALID when there is more. */
  async expectEnd(): Promise<void> {
    if (this.#rest.length > 0 || (await this.#more())) throw invalid('more follows the image');
  }

  /** Idempotent. */
  close(): void {
    this.#end();
  }

  #cut(bytes: number): Buffer {
    const part = this.#rest.subarray(0, bytes);
    this.#rest = this.#rest.subarray(bytes);
    return part;
  }

  async #more(): Promise<boolean> {
    for (;;) {
      const next = await this.#next();
      if (next === undefined) return false;
      this.#unpackedBytes += next.length;
      if (this.#unpackedBytes > this.#maxBytes) throw invalid('it unpacks to more than it should');
      if (next.length === 0) continue;
      this.#rest = next;
      return true;
    }
  }

  async #next(): Promise<Buffer | undefined> {
    try {
      const { value, done } = await this.#chunks.next();
      this.#signal.throwIfAborted();
      return done === true ? undefined : value;
    } catch (error) {
      this.#signal.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure;
      if (isHoldfastError(error)) throw error;
      throw invalid(messageOf(error), error);
    }
  }
}

const invalid = (why: string, cause?: unknown): HoldfastError =>
  new HoldfastError('UPDATE_DELTA_INVALID', `the delta is damaged: ${why}`, { cause });
