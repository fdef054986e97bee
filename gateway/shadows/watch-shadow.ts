/**
 * The changes of one shadow as they are committed, from a position on. What a reader has not taken yet stays in the history, so that a slow
 * one holds no more than a page in memory; where it is so slow that the history let something go meanwhile, it is told what it missed.
 */

import type { ShadowHistory } from './shadow-history.js';
import { type HistoryChange, type HistoryPosition, isBefore } from './shadow-history-rows.js';
import type { ShadowKey } from './stored-shadow.js';

export type WatchTold =
  | { readonly kind: 'watching'; readonly position: HistoryPosition }
  | { readonly kind: 'change'; readonly change: HistoryChange }
  /** Changes after the one version, up to the other, are gone; what is left of them follows. */
  | {
      readonly kind: 'missed';
      readonly position: HistoryPosition;
      readonly afterVersion: number;
      readonly toVersion: number;
    }
  /** Nothing has changed for a while. */
  | { readonly kind: 'alive' };

export interface WatchOptions {
  /** Where the reader stopped; absent: what comes from now on. */
  readonly after?: HistoryPosition | undefined;
  readonly signal: AbortSignal;
  readonly aliveMs: number;
}

const changesAtOnce = 100;

/** Ends with the signal. */
export async function* watchShadow(
  history: Pick<ShadowHistory, 'after' | 'begin' | 'end' | 'onChanged'>,
  key: ShadowKey,
  { after, signal, aliveMs }: WatchOptions,
): AsyncGenerator<WatchTold> {
  const news = new News(signal);
  const stop = history.onChanged(key, () => news.tell());
  try {
    const end = await history.end(key);
    let position = after === undefined || isBefore(end, after) ? end : after;
    let told: HistoryPosition = { version: -1, seq: 0 };
    yield { kind: 'watching', position };
    if (after !== undefined && end.version < after.version) {
      // Versions went back: what the reader knows was lost here with the site's database.
      yield { kind: 'missed', position, afterVersion: after.version, toVersion: end.version };
    }
    while (!signal.aborted) {
      const begin = await history.begin(key);
      if (isBefore(position, begin) && isBefore(told, begin)) {
        told = begin;
        const range = { afterVersion: position.version, toVersion: begin.version };
        yield { kind: 'missed', position, ...range };
      }
      const changes = await history.after(key, position, changesAtOnce);
      for (const change of changes) {
        if (signal.aborted) return;
        position = { version: change.version, seq: change.seq };
        yield { kind: 'change', change };
      }
      if (changes.length === changesAtOnce) continue;
      const hasNews = await news.wait(aliveMs);
      if (!hasNews && !signal.aborted) yield { kind: 'alive' };
    }
  } finally {
    stop();
  }
}

/** That there is something new, told as often as one likes and heard once. */
class News {
  readonly #signal: AbortSignal;
  #isThere = false;
  #wake: () => void = () => undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake(), { once: true });
  }

  tell(): void {
    this.#isThere = true;
    this.#wake();
  }

  /** Whether there was any before the time was over. */
  async wait(ms: number): Promise<boolean> {
    if (!this.#isThere && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = () => undefined;
    }
    const wasThere = this.#isThere;
    this.#isThere = false;
    return wasThere;
  }
}
