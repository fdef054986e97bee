/**
 * Watches of shadows over the local API: an answer that does not end, a JSON value a line. A reader that takes nothing for a minute is cut
 * off and may come back with the position it had; it holds one page meanwhile, what follows waits in the history.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ShadowChangeRow, ShadowWatchLine } from '@holdfast/protos/local/shadows';
import type { ShadowHistory } from '../../shadows/shadow-history.js';
import {
  type HistoryChange,
  type HistoryPosition,
  positionText,
} from '../../shadows/shadow-history-rows.js';
import type { ShadowKey } from '../../shadows/stored-shadow.js';
import { type WatchTold, watchShadow } from '../../shadows/watch-shadow.js';
import { type Exchange, OpenAnswers } from './open-answers.js';

export interface ShadowWatchesDeps {
  readonly history: Pick<ShadowHistory, 'after' | 'begin' | 'end' | 'onChanged'>;
  /** Whether whoever asked may still see what he asked for: people sign out, and sessions end. */
  readonly isAllowed: (request: IncomingMessage) => boolean;
  readonly now: () => number;
}

export interface ShadowWatchesOptions {
  readonly maxWatches?: number;
  /** A line comes at least so often. */
  readonly aliveMs?: number;
  /** A reader that takes nothing for so long is cut off. */
  readonly stalledMs?: number;
}

export interface WatchFrom {
  readonly after: HistoryPosition | undefined;
  /** Of the shadow now. */
  readonly version: number;
}

export class ShadowWatches {
  readonly #deps: ShadowWatchesDeps;
  readonly #options: Required<ShadowWatchesOptions>;
  readonly #open: OpenAnswers;

  constructor(deps: ShadowWatchesDeps, options: ShadowWatchesOptions = {}) {
    this.#deps = deps;
    this.#options = { maxWatches: 100, aliveMs: 15_000, stalledMs: 60_000, ...options };
    this.#open = new OpenAnswers({ name: 'watches', most: this.#options.maxWatches });
  }

  /** Answers until the reader goes, is no longer allowed to, or `close`. Errors: REQUEST_THROTTLED. */
  async answer(
    { request, response }: Exchange,
    key: ShadowKey,
    { after, version }: WatchFrom,
  ): Promise<void> {
    const { aliveMs } = this.#options;
    await this.#open.answer({ response }, async (signal) => {
      const told = watchShadow(this.#deps.history, key, { after, signal, aliveMs });
      await this.#write(told, version, { request, response, signal });
    });
  }

  /** Ends all of them. */
  close(): void {
    this.#open.close();
  }

  async #write(
    told: AsyncIterable<WatchTold>,
    version: number,
    { request, response, signal }: Exchange & { readonly signal: AbortSignal },
  ): Promise<void> {
    const { now, isAllowed } = this.#deps;
    let askedAt = now();
    for await (const one of told) {
      // By any clock: it is asked more often than needed when that jumps.
      if (Math.abs(now() - askedAt) >= this.#options.aliveMs || one.kind === 'alive') {
        if (!isAllowed(request)) return;
        askedAt = now();
      }
      const line = JSON.stringify(lineOf(one, version, now()));
      if (!response.write(`${line}\n`) && !(await this.#drained(response, signal))) return;
    }
  }

  /** False when the reader has gone, or takes nothing any more and is cut off. */
  async #drained(response: ServerResponse, signal: AbortSignal): Promise<boolean> {
    const patience = AbortSignal.timeout(this.#options.stalledMs);
    try {
      await once(response, 'drain', { signal: AbortSignal.any([signal, patience]) });
      return true;
    } catch {
      if (!signal.aborted) response.destroy();
      return false;
    }
  }
}

const lineOf = (told: WatchTold, version: number, now: number): ShadowWatchLine => {
  if (told.kind === 'change') return { change: changeRow(told.change) };
  if (told.kind === 'alive') return { alive: now };
  const position = positionText(told.position);
  if (told.kind === 'watching') return { watching: { position, version } };
  const { afterVersion: after_version, toVersion: to_version } = told;
  return { missed: { after_version, to_version, position } };
};

export const changeRow = (change: HistoryChange): ShadowChangeRow => ({
  position: positionText(change),
  device: change.device,
  shadow: change.name,
  version: change.version,
  at: change.at,
  trusted: change.trusted,
  writer: change.writer,
  written_at: change.writtenAt,
  deleted: change.deleted,
  changes: change.changes.map(({ path, ...values }) => ({ path: [...path], ...values })),
});
