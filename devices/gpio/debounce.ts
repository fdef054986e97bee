/** Edges of a contact that bounces as the one that is meant: a level counts once it has stayed for a while. */
import type { Edge } from './gpio-lines.js';

export interface DebouncerOptions {
  readonly debounceMs: number;
  readonly onEdge: (edge: Edge) => void;
  /** Ms that never run back. */
  readonly monotonic: () => number;
}

export class Debouncer {
  readonly #options: DebouncerOptions;
  /** The level that counts; undefined before any is known. */
  #level: boolean | undefined;
  #last: { readonly isOn: boolean; readonly at: number } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: DebouncerOptions) {
    this.#options = options;
  }

  /** The line was looked at while nothing was under way. */
  set level(isOn: boolean) {
    if (this.#timer === undefined) this.#level = isOn;
  }

  take({ isOn, agoMs }: Edge): void {
    const { monotonic, debounceMs } = this.#options;
    this.#last = { isOn, at: monotonic() - agoMs };
    // One timer, however much it chatters: it looks at what came last.
    this.#timer ??= setTimeout(() => this.#look(), debounceMs);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const { monotonic, debounceMs, onEdge } = this.#options;
    this.#timer = undefined;
    if (this.#last === undefined) return;
    const { isOn, at } = this.#last;
    const agoMs = monotonic() - at;
    if (agoMs < debounceMs) {
      this.#timer = setTimeout(() => this.#look(), debounceMs - agoMs);
      return;
    }
    if (isOn === this.#level) return;
    this.#level = isOn;
    onEdge({ isOn, agoMs });
  }
}
