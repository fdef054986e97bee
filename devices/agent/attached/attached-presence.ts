/** Whether the microcontroller is there, what it said of itself last, and which run of it that was. What it said outlives this process. */
import { isDeepStrictEqual } from 'node:util';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { SerialHello } from '../../serial/serial-driver.js';
import type { AttachedRecord, KnownHello } from './attached-record.js';

type HelloListener = (hello: KnownHello) => void;

export class AttachedPresence {
  readonly #record: AttachedRecord;
  readonly #changed: () => void;
  readonly #listeners = new Set<HelloListener>();
  #isOnline = false;
  /** Why it is away. */
  #reason = 'it has said no hello yet';

  /** `changed` is told whenever something of `facts`, or the hello, is another. */
  constructor(deps: { readonly record: AttachedRecord; readonly changed: () => void }) {
    this.#record = deps.record;
    this.#changed = deps.changed;
  }

  /** Of its last hello, which may have been before this process; null when it never said any. */
  get hello(): KnownHello | null {
    return this.#record.data.hello;
  }

  get isOnline(): boolean {
    return this.#isOnline;
  }

  /** As it is reported by whoever speaks for it. */
  get facts(): JsonObject {
    return this.#isOnline ? { online: true } : { online: false, reason: this.#reason };
  }

  /** Its run: as its last hello says it, told apart where that is the same after a flash. */
  get bootId(): string {
    const { hello, repeats } = this.#record.data;
    const boot = hello?.boot ?? 'unknown';
    return repeats === 0 ? boot : `${boot}~${String(repeats)}`;
  }

  /** Its line is about to be lent out, and it to be reset. */
  async lend(): Promise<void> {
    if (this.#record.data.wasLent) return;
    await this.#record.update((known) => ({ ...known, wasLent: true }));
  }

  /** Resolves when it is on disk; whether it was news, since some say it again and again. */
  async arrive({ model, version, boot, serial_no }: SerialHello): Promise<boolean> {
    const hello = { model, version, boot, ...(serial_no !== undefined && { serial_no }) };
    const isKnown = isDeepStrictEqual(hello, this.hello) && !this.#record.data.wasLent;
    if (isKnown && this.#isOnline) return false;
    if (!isKnown) {
      await this.#record.update((known) => {
        const isSameBoot = known.hello?.boot === boot;
        const repeats = isSameBoot ? known.repeats + (known.wasLent ? 1 : 0) : 0;
        return { ...known, hello, repeats, wasLent: false };
      });
    }
    this.#isOnline = true;
    this.#changed();
    for (const listener of this.#listeners) listener(hello);
    return true;
  }

  /** It is away, or still, and now it is known why; whether that is news. */
  leave(reason: string): boolean {
    if (!this.#isOnline && this.#reason === reason) return false;
    this.#isOnline = false;
    this.#reason = reason;
    this.#changed();
    return true;
  }

  onHello(listener: HelloListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves with its hello when it is there, or comes. */
  async awaitHello(signal: AbortSignal): Promise<KnownHello> {
    signal.throwIfAborted();
    const { hello } = this;
    if (this.#isOnline && hello !== null) return hello;
    return new Promise((resolve, reject) => {
      const end = () => {
        stop();
        reject(signal.reason);
      };
      const stop = this.onHello((said) => {
        stop();
        signal.removeEventListener('abort', end);
        resolve(said);
      });
      signal.addEventListener('abort', end, { once: true });
    });
  }
}
