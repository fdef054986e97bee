/**
 * What changed in the site's shadows, by whom and when: appended in the commits of the changes, read page by page, and bounded in bytes.
 * What goes is the oldest; of a full history first of all what devices merely reported, since what people and the control plane desired
 * is rarer and asked for more.
 */
import { changesBelow } from '@holdfast/protos/semantics/shadow-history';
import type { ShadowPath } from '@holdfast/protos/semantics/shadow-merge';
import type { Statement } from '@holdfast/provisioning/storage/write';
import type { ClockCorrection } from '@holdfast/provisioning/time/trusted-clock';
import type { SiteStore } from '../store/site-store.js';
import { textOf } from './shadow-cache.js';
import {
  type HistoryChange,
  type HistoryPosition,
  type HistoryRow,
  historyColumns,
  readChange,
} from './shadow-history-rows.js';
import { type Losses, lossStatement, readLosses } from './shadow-losses.js';
import type { ShadowKey } from './stored-shadow.js';

export interface HistoryFilter {
  /** Changes before this; absent: from the newest on. */
  readonly before?: HistoryPosition | undefined;
  /** Committed at or after this, epoch ms. */
  readonly since?: number | undefined;
  /** After the one version, up to and with the other. */
  readonly fromVersion?: number | undefined;
  readonly toVersion?: number | undefined;
  /** Only what touches this or is below it. */
  readonly path?: ShadowPath | undefined;
  readonly limit: number;
}

export interface HistoryPage {
  /** Newest first. */
  readonly changes: readonly HistoryChange[];
  /** Where the next page begins (`before`); absent when this was the last. */
  readonly next?: HistoryPosition;
}

const rowsAtOnce = 500;
/** How many rows a page looks through for a path. */
const mostRowsLookedAt = 10_000;
/** Rows that go in one commit: everybody's commits wait for it. */
const prunedAtOnce = 500;
/** A history that was full is pruned to this share, so that it is not pruned at every commit. */
const prunedTo = 0.95;
const selectPruned = 'SELECT seq, device, name, version, at, bytes FROM shadow_changes';

export class ShadowHistory {
  readonly #site: SiteStore;
  readonly #quotaBytes: number;
  readonly #watchers = new Map<string, Set<() => void>>();
  #bytes: number;
  #onFull: () => void = () => undefined;

  /** Use `openShadowHistory`. */
  constructor(site: SiteStore, quotaBytes: number, bytes: number) {
    this.#site = site;
    this.#quotaBytes = quotaBytes;
    this.#bytes = bytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Called when there is more than the quota allows: it is time for `pruneToQuota`. */
  onFull(listener: () => void): void {
    this.#onFull = listener;
  }

  /** Calls back after each commit that may have changed a shadow, until the returned function is called. */
  onChanged(key: ShadowKey, listener: () => void): () => void {
    const text = textOf(key);
    const listeners = this.#watchers.get(text) ?? new Set();
    this.#watchers.set(text, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#watchers.get(text) === listeners)
        this.#watchers.delete(text);
    };
  }

  /** To be called after the commit of rows that `historyAppends` made. */
  committed(key: ShadowKey, bytes: number): void {
    if (bytes === 0) return;
    this.#bytes += bytes;
    for (const listener of this.#watchers.get(textOf(key)) ?? []) listener();
    if (this.#bytes > this.#quotaBytes) this.#onFull();
  }

  async page(key: ShadowKey, filter: HistoryFilter): Promise<HistoryPage> {
    const { limit, path } = filter;
    const found: HistoryChange[] = [];
    let before = filter.before;
    for (let looked = 0; looked < mostRowsLookedAt; looked += rowsAtOnce) {
      const rows = await this.#rowsBefore(key, { ...filter, before });
      for (const row of rows) {
        before = row;
        const change = readChange(row);
        const changes = path === undefined ? change.changes : changesBelow(path, change.changes);
        if (changes.length === 0 && path !== undefined) continue;
        found.push({ ...change, changes });
        if (found.length >= limit) return { changes: found, next: row };
      }
      if (rows.length < rowsAtOnce) return { changes: found };
    }
    return { changes: found, ...(before === undefined ? {} : { next: before }) };
  }

  /** What came after a position, oldest first. */
  async after(key: ShadowKey, position: HistoryPosition, limit: number): Promise<HistoryChange[]> {
    const rows = await this.#site.read.all<HistoryRow>(
      `SELECT ${historyColumns} FROM shadow_changes
        WHERE device = ? AND name = ? AND (version, seq) > (?, ?) ORDER BY version, seq LIMIT ?`,
      [key.device, key.name, position.version, position.seq, limit],
    );
    return rows.map(readChange);
  }

  /** Where a shadow's history ends now. */
  async end(key: ShadowKey): Promise<HistoryPosition> {
    const last = await this.#site.read.get<HistoryPosition>(
      `SELECT version, seq FROM shadow_changes WHERE device = ? AND name = ?
        ORDER BY version DESC, seq DESC LIMIT 1`,
      [key.device, key.name],
    );
    return last ?? (await this.begin(key));
  }

  /** After which position everything of a shadow is kept. */
  async begin({ device, name }: ShadowKey): Promise<HistoryPosition> {
    const row = await this.#site.read.get<HistoryPosition>(
      'SELECT version, seq FROM shadow_history_begins WHERE device = ? AND name = ?',
      [device, name],
    );
    return row ?? { version: 0, seq: 0 };
  }

  /** What had to go before its time; the time is that of the newest. */
  losses(): Promise<Losses | undefined> {
    return readLosses(this.#site.read, 'changes');
  }

  /**
   * Lets go what was committed before; returns how many rows went. What was committed while nobody knew the time goes with the first after
   * it whose time was known.
   */
  async pruneOlder(at: number): Promise<number> {
    let pruned = 0;
    let last = 0;
    for (const lasting of [0, 1]) {
      const sql = `${selectPruned} WHERE lasting = ? AND at < ? AND trusted = 1
        ORDER BY at, seq LIMIT ${prunedAtOnce}`;
      await this.#forgetAll(sql, [lasting, at], (rows) => {
        pruned += rows.length;
        last = Math.max(last, ...rows.map(({ seq }) => seq));
      });
    }
    const sql = `${selectPruned} WHERE seq < ? AND trusted = 0 ORDER BY seq LIMIT ${prunedAtOnce}`;
    await this.#forgetAll(sql, [last], (rows) => {
      pruned += rows.length;
    });
    return pruned;
  }

  /** What was put down while nobody knew the time gets its time. */
  async correct({ from, to, step }: ClockCorrection): Promise<void> {
    const sql = `SELECT seq FROM shadow_changes
      WHERE seq > ? AND trusted = 0 AND at BETWEEN ? AND ? ORDER BY seq LIMIT ${prunedAtOnce}`;
    for (let after = 0; ; ) {
      const rows = await this.#site.read.all<{ seq: number }>(sql, [after, from, to]);
      const last = rows.at(-1);
      if (last === undefined) return;
      await this.#site.commit([
        {
          sql: `UPDATE shadow_changes SET at = at + ?, trusted = 1 WHERE seq IN (${rows.map(() => '?').join()})`,
          params: [step, ...rows.map(({ seq }) => seq)],
        },
      ]);
      after = last.seq;
    }
  }

  /** Lets go as much as is too much, and counts it; returns how many rows went. */
  async pruneToQuota(): Promise<number> {
    if (this.#bytes <= this.#quotaBytes) return 0;
    let pruned = 0;
    for (;;) {
      const rows = await this.#oldestToGo(this.#bytes - this.#quotaBytes * prunedTo);
      if (rows.length === 0) break;
      const newest = Math.max(...rows.map(({ at }) => at));
      await this.#forget(rows, [lossStatement('changes', rows.length, newest)]);
      pruned += rows.length;
    }
    return pruned;
  }

  async #rowsBefore(
    { device, name }: ShadowKey,
    { before, since, fromVersion, toVersion }: HistoryFilter,
  ): Promise<HistoryRow[]> {
    const max = Number.MAX_SAFE_INTEGER;
    const last = before ?? { version: toVersion ?? max, seq: max };
    return this.#site.read.all<HistoryRow>(
      `SELECT ${historyColumns} FROM shadow_changes
        WHERE device = ? AND name = ? AND (version, seq) < (?, ?) AND version > ? AND at >= ?
        ORDER BY version DESC, seq DESC LIMIT ${rowsAtOnce}`,
      [device, name, last.version, last.seq, fromVersion ?? -1, since ?? -1],
    );
  }

  /** Rows of so many bytes, as far as one commit takes them; none where there is nothing too much. */
  async #oldestToGo(excessBytes: number): Promise<PrunedRow[]> {
    for (const lasting of [0, 1]) {
      const rows = await this.#site.read.all<PrunedRow>(
        `${selectPruned} WHERE lasting = ? ORDER BY at, seq LIMIT ${prunedAtOnce}`,
        [lasting],
      );
      if (rows.length === 0) continue;
      let bytes = 0;
      return rows.filter((row) => {
        const isTooMuch = bytes < excessBytes;
        bytes += row.bytes;
        return isTooMuch;
      });
    }
    return [];
  }

  async #forgetAll(
    sql: string,
    params: readonly number[],
    onForgotten: (rows: readonly PrunedRow[]) => void,
  ): Promise<void> {
    for (;;) {
      const rows = await this.#site.read.all<PrunedRow>(sql, params);
      await this.#forget(rows, []);
      onForgotten(rows);
      if (rows.length < prunedAtOnce) return;
    }
  }

  async #forget(rows: readonly PrunedRow[], more: readonly Statement[]): Promise<void> {
    if (rows.length === 0) return;
    await this.#site.commit([
      {
        sql: `DELETE FROM shadow_changes WHERE seq IN (${rows.map(() => '?').join()})`,
        params: rows.map(({ seq }) => seq),
        expectChanges: rows.length,
      },
      ...lastOfEach(rows).map(
        ({ device, name, version, seq }): Statement => ({
          sql: `INSERT INTO shadow_history_begins (device, name, version, seq) VALUES (?, ?, ?, ?)
            ON CONFLICT (device, name) DO UPDATE SET version = excluded.version, seq = excluded.seq
            WHERE (excluded.version, excluded.seq) > (version, seq)`,
          params: [device, name, version, seq],
        }),
      ),
      ...more,
    ]);
    this.#bytes -= rows.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

interface PrunedRow extends ShadowKey, HistoryPosition {
  readonly at: number;
  readonly bytes: number;
}

export const openShadowHistory = async (
  site: SiteStore,
  quotaBytes: number,
): Promise<ShadowHistory> => {
  const row = await site.read.get<{ bytes: number }>(
    'SELECT COALESCE(SUM(bytes), 0) AS bytes FROM shadow_changes',
  );
  return new ShadowHistory(site, quotaBytes, row?.bytes ?? 0);
};

const lastOfEach = (rows: readonly PrunedRow[]): PrunedRow[] => {
  const last = new Map<string, PrunedRow>();
  for (const row of rows) {
    const known = last.get(textOf(row));
    if (known === undefined || known.seq < row.seq) last.set(textOf(row), row);
  }
  return [...last.values()];
};
