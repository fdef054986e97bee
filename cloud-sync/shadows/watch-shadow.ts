/**
 * A shadow's changes as they are committed. A watcher is woken by the commit and reads what is new then: nobody polls, and changes while
 * a reader is busy wait in the database, so that a slow one costs no memory.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Kysely } from 'kysely';
import type { Signals } from '../bus/signals.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine } from '../store/sql-engine.js';
import { type ChangeRow, leavesOf } from './list-changes.js';
import type { ShadowKey, ShadowRow } from './shadow-records.js';

export interface WatchShadowDependencies {
  readonly engine: SqlEngine;
  readonly signals: Signals;
}

export interface WatchShadowOptions {
  /** At once, of all shadows. */
  readonly maxWatchers?: number;
  /** How long nothing may happen until it is said that nothing did. */
  readonly aliveMs?: number;
  /** How long one watch lasts: who goes on shows its token again. */
  readonly longestMs?: number;
}

export type WatchedShadow =
  /** The whole of it; undefined while there is none. */
  | { readonly kind: 'shadow'; readonly row: ShadowRow | undefined }
  /** Every change of one version. */
  | { readonly kind: 'changes'; readonly rows: readonly ChangeRow[] }
  | { readonly kind: 'alive' };

export class ShadowWatches {
  readonly #deps: WatchShadowDependencies;
  readonly #options: Required<WatchShadowOptions>;
  #watchers = 0;

  constructor(deps: WatchShadowDependencies, options: WatchShadowOptions = {}) {
    this.#deps = deps;
    this.#options = { maxWatchers: 2_000, aliveMs: 15_000, longestMs: 3_600_000, ...options };
  }

  /** Ends with the signal or after its time. Errors: REQUEST_THROTTLED. */
  async *watch(
    key: ShadowKey,
    afterVersion: number | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<WatchedShadow> {
    const { maxWatchers, longestMs } = this.#options;
    if (this.#watchers >= maxWatchers) {
      throw new HoldfastError('REQUEST_THROTTLED', `${maxWatchers} watches are under way already`);
    }
    this.#watchers += 1;
    const bell = new Bell(AbortSignal.any([signal, AbortSignal.timeout(longestMs)]));
    const topic = `shadow:${key.site}/${key.device}/${key.shadow}` as const;
    const stopListening = this.#deps.signals.subscribe(topic, () => bell.ring());
    try {
      yield* this.#follow(key, afterVersion, bell);
    } finally {
      stopListening();
      bell.close();
      this.#watchers -= 1;
    }
  }

  async *#follow(
    key: ShadowKey,
    afterVersion: number | undefined,
    bell: Bell,
  ): AsyncGenerator<WatchedShadow> {
    const { read } = this.#deps.engine;
    let told = { position: 0, version: afterVersion ?? -1 };
    while (!bell.isOver) {
      // Before anything is read: what is committed meanwhile rings again.
      bell.answer();
      const position = await lastPosition(read, key.site);
      const row = await shadowRow(read, key);
      const completeAfter = row && (row.history_after < 0 ? row.version : row.history_after);
      const isAhead = told.version > (row?.version ?? 0);
      if (told.version < 0 || told.version < (completeAfter ?? 0) || isAhead) {
        yield { kind: 'shadow', row: row?.is_present === 1 ? row : undefined };
        told = { position, version: row?.version ?? 0 };
      }
      for (;;) {
        const rows = await changesAfter(read, key, told);
        const last = rows.at(-1);
        if (last === undefined) break;
        yield { kind: 'changes', rows };
        told = { position: last.position, version: last.version };
        if (bell.isOver) return;
      }
      // Nothing is read until something was committed.
      while (!(await bell.rings(this.#options.aliveMs))) {
        if (bell.isOver) return;
        yield { kind: 'alive' };
      }
    }
  }
}

/** Rung by commits; one who waits hears it once, however often it rang. */
class Bell {
  readonly #over: AbortSignal;
  readonly #onOver = (): void => this.#wake();
  #isRung = false;
  #wake: () => void = () => undefined;

  constructor(over: AbortSignal) {
    this.#over = over;
    over.addEventListener('abort', this.#onOver, { once: true });
  }

  get isOver(): boolean {
    return this.#over.aborted;
  }

  ring(): void {
    this.#isRung = true;
    this.#wake();
  }

  answer(): void {
    this.#isRung = false;
  }

  /** Whether it rang, before this or within the time. Resolves early when it is over. */
  async rings(withinMs: number): Promise<boolean> {
    if (!this.#isRung && !this.isOver) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, withinMs);
      });
      clearTimeout(timer);
      this.#wake = () => undefined;
    }
    return this.#isRung;
  }

  close(): void {
    this.#over.removeEventListener('abort', this.#onOver);
  }
}

const lastPosition = async (db: Kysely<Schema>, site: string): Promise<number> => {
  const row = await db
    .selectFrom('shadow_histories')
    .select('last_position')
    .where('site_id', '=', site)
    .executeTakeFirst();
  return row?.last_position ?? 0;
};

const shadowRow = (db: Kysely<Schema>, key: ShadowKey): Promise<ShadowRow | undefined> =>
  db
    .selectFrom('shadows')
    .selectAll()
    .where('site_id', '=', key.site)
    .where('device_id', '=', key.device)
    .where('shadow', '=', key.shadow)
    .executeTakeFirst();

const rowsAtOnce = 100;

/** The changes of the next version that has any, and deletions of the one that was told last. */
const changesAfter = async (
  db: Kysely<Schema>,
  key: ShadowKey,
  told: { readonly position: number; readonly version: number },
): Promise<ChangeRow[]> => {
  const rows = await db
    .selectFrom('shadow_changes')
    .selectAll()
    .where('site_id', '=', key.site)
    .where('device_id', '=', key.device)
    .where('position', '>', told.position)
    .where('shadow', '=', key.shadow)
    .where((eb) =>
      eb.or([
        eb('version', '>', told.version),
        eb.and([eb('version', '=', told.version), eb('is_deletion', '=', 1)]),
      ]),
    )
    .orderBy('position')
    .limit(rowsAtOnce)
    .execute();
  const [first] = rows;
  return rows
    .filter((row) => row.version === first?.version && row.is_deletion === first.is_deletion)
    .map((row) => ({ ...row, changes: leavesOf(row) }));
};
