/** What is due when, with one wait for all of it. */
import { type Wait, wait } from '@holdfast/provisioning/time/wait';

/** The longest wait at a time, ms: time that was not known may have become known. */
const longestWaitMs = 3_600_000;

export class Deadlines<K> {
  readonly #now: () => number;
  readonly #wait: Wait;
  readonly #due: (key: K) => void;
  readonly #times = new Map<K, number>();
  #nextAt = Number.POSITIVE_INFINITY;
  #waiting: AbortController | undefined;

  /** `due` is called once for each key, when its time has come, and it is forgotten. */
  constructor(deps: { readonly now: () => number; readonly wait?: Wait }, due: (key: K) => void) {
    this.#now = deps.now;
    this.#wait = deps.wait ?? wait;
    this.#due = due;
  }

  get size(): number {
    return this.#times.size;
  }

  at(key: K): number | undefined {
    return this.#times.get(key);
  }

  /** Infinity: never. */
  set(key: K, at: number): void {
    if (at === Number.POSITIVE_INFINITY) {
      this.delete(key);
      return;
    }
    this.#times.set(key, at);
    if (at < this.#nextAt) this.#await(at);
  }

  delete(key: K): void {
    this.#times.delete(key);
    if (this.#times.size === 0) this.close();
  }

  close(): void {
    this.#waiting?.abort();
    this.#waiting = undefined;
    this.#nextAt = Number.POSITIVE_INFINITY;
  }

  #await(at: number): void {
    this.close();
    this.#nextAt = at;
    const waiting = new AbortController();
    this.#waiting = waiting;
    const ms = Math.min(Math.max(0, at - this.#now()), longestWaitMs);
    this.#wait(ms, waiting.signal).then(
      () => this.#meet(),
      () => undefined,
    );
  }

  #meet(): void {
    const now = this.#now();
    for (const [key, at] of [...this.#times]) {
      if (at > now || this.#times.get(key) !== at) continue;
      this.#times.delete(key);
      this.#due(key);
    }
    let next = Number.POSITIVE_INFINITY;
    for (const at of this.#times.values()) if (at < next) next = at;
    if (this.#times.size > 0) this.#await(next);
    else this.close();
  }
}
