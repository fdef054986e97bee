/** Whether the microcontroller is there, what it said of itself last, and which run of it that was. What it said outlives this process. */
import { isDeepStrictEqual } from 'node:util';
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { SerialHello } from '../../serial/serial-driver.js';
import type { Log } from '../log.js';
import type { AttachedKnowledge, AttachedRecord, KnownHello } from './attached-record.js';

export interface AttachedPresenceDeps {
  readonly record: AttachedRecord;
  /** Told whenever something of `facts`, or the hello, is another. */
  readonly changed: () => void;
  readonly log: Log;
}

type HelloListener = (hello: KnownHello) => void;

export class AttachedPresence {
  readonly #deps: AttachedPresenceDeps;
  /** As on disk, or newer: a full disk keeps no microcontroller from being served, nor a board from being flashed. */
  #known: Pick<AttachedKnowledge, 'hello' | 'repeats' | 'wasLent'>;
  readonly #listeners = new Set<HelloListener>();
  #isOnline = false;
  /** Why it is away. */
  #reason = 'it has said no hello yet';

  constructor(deps: AttachedPresenceDeps) {
    this.#deps = deps;
    const { hello, repeats, wasLent } = deps.record.data;
    this.#known = { hello, repeats, wasLent };
  }

  /** Of its last hello, which may have been before this process; null when it never said any. */
  get hello(): KnownHello | null {
    return this.#known.hello;
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
    const { hello, repeats } = this.#known;
    const boot = hello?.boot ?? 'unknown';
    return repeats === 0 ? boot : `${boot}~${String(repeats)}`;
  }

  /** Its line is about to be lent out, and it to be reset. */
  async lend(): Promise<void> {
    if (this.#known.wasLent) return;
    this.#known = { ...this.#known, wasLent: true };
    await this.#keep();
  }

  /** Whether it was news: some say it again and again. */
  async arrive({ model, version, boot, serial_no }: SerialHello): Promise<boolean> {
    const hello = { model, version, boot, ...(serial_no !== undefined && { serial_no }) };
    const { hello: before, repeats, wasLent } = this.#known;
    const isKnown = isDeepStrictEqual(hello, before) && !wasLent;
    if (isKnown && this.#isOnline) return false;
    if (!isKnown) {
      const isSameBoot = before?.boot === boot;
      this.#known = {
        hello,
        repeats: isSameBoot ? repeats + (wasLent ? 1 : 0) : 0,
        wasLent: false,
      };
      await this.#keep();
    }
    this.#isOnline = true;
    this.#deps.changed();
    for (const listener of this.#listeners) listener(hello);
    return true;
  }

  /** It is away, or still, and now it is known why; whether that is news. */
  leave(reason: string): boolean {
    if (!this.#isOnline && this.#reason === reason) return false;
    this.#isOnline = false;
    this.#reason = reason;
    this.#deps.changed();
    return true;
  }

  async #keep(): Promise<void> {
    const { record, log } = this.#deps;
    await record
      .update((kept) => ({ ...kept, ...this.#known }))
      .catch((error: unknown) =>
        log.error(
          { error: messageOf(error) },
          'what the microcontroller says of itself is not kept',
        ),
      );
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
