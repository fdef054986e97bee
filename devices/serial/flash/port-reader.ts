/** Reads a port by the byte: what a loader answers, awaited with a deadline. Silence is a return value; the end of the port is an error. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { BytePort } from '../port/byte-port.js';

/** More than the longest answer; what an application floods the line with is dropped from the front. */
const maxHeldBytes = 4096;

export class PortReader {
  readonly #port: BytePort;
  #held: Buffer = Buffer.alloc(0);
  #onBytes: (() => void) | null = null;
  #gone: string | null = null;

  /** Takes the port's bytes until `close`. */
  constructor(port: BytePort) {
    this.#port = port;
    port.onBytes((bytes) => {
      this.#held = Buffer.concat([this.#held, bytes]).subarray(-maxHeldBytes);
      this.#onBytes?.();
    });
    void port.gone.then((reason) => {
      this.#gone = reason;
      this.#onBytes?.();
    });
  }

  /** What has arrived and was not read yet. */
  get held(): Buffer {
    return this.#held;
  }

  drop(): void {
    this.#held = Buffer.alloc(0);
  }

  /** The next bytes, or null when they have not come within `ms`; what came stays held. SERIAL_LINE_DOWN; the signal's reason. */
  async read(count: number, ms: number, signal: AbortSignal): Promise<Buffer | null> {
    if (!(await this.until((held) => held.length >= count, ms, signal))) return null;
    const bytes = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    return bytes;
  }

  /** Whether what is held is as wanted within `ms`. SERIAL_LINE_DOWN; the signal's reason. */
  async until(
    isWanted: (held: Buffer) => boolean,
    ms: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    signal.throwIfAborted();
    if (isWanted(this.#held)) return true;
    return await new Promise<boolean>((resolve, reject) => {
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.#onBytes = null;
        finish();
      };
      const look = () => {
        if (isWanted(this.#held)) settle(() => resolve(true));
        else if (this.#gone !== null) {
          const reason = this.#gone;
          settle(() => reject(new HoldfastError('SERIAL_LINE_DOWN', reason)));
        }
      };
      const onAbort = () => settle(() => reject(signal.reason));
      const timer = setTimeout(() => settle(() => resolve(false)), ms);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#onBytes = look;
      look();
    });
  }

  /** Waits until nothing has come for `ms`, at the longest `mostMs`, and drops what came. */
  async quiet(ms: number, mostMs: number, signal: AbortSignal): Promise<void> {
    const endMs = performance.now() + mostMs;
    do this.drop();
    while ((await this.until((held) => held.length > 0, ms, signal)) && performance.now() < endMs);
    this.drop();
  }

  close(): void {
    this.#port.onBytes(null);
  }
}
