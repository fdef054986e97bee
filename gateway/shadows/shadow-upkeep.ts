/**
 * Keeps conflicts and history within their time and their room. What people see stays as it is: what goes are losers, and the record of
 * what was. What goes before its time is counted. While the clock is not to be believed nothing grows old.
 */
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Schedule, Scheduled } from '@holdfast/provisioning/time/schedule';
import type { ClockCorrection } from '@holdfast/provisioning/time/trusted-clock';
import type { SiteStore } from '../store/site-store.js';
import { textOf } from './shadow-cache.js';
import { droppedWrite } from './shadow-change-write.js';
import { removal, timeUnknown } from './shadow-conflicts.js';
import type { Shadows } from './shadows.js';
import type { ShadowKey } from './stored-shadow.js';

export interface ShadowUpkeepDeps {
  readonly shadows: Pick<Shadows, 'history' | 'forget' | 'onConflicts'>;
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly schedule: Schedule;
  readonly log: StoreLog;
}

export interface ShadowUpkeepOptions {
  /** When to look, in cron's words; where something is full, at once. */
  readonly cron?: string;
  readonly historyMs?: number;
  /** From when a conflict was settled, else from when it was found. */
  readonly conflictMs?: number;
  /** Of the whole site, settled ones among them. */
  readonly maxConflicts?: number;
}

const dayMs = 86_400_000;
const defaults = {
  cron: '3-59/10 * * * *',
  historyMs: 30 * dayMs,
  conflictMs: 90 * dayMs,
  maxConflicts: 10_000,
};

const conflictsAtOnce = 200;
/** A full list is pruned to this share, so that it is not pruned at every commit. */
const prunedTo = 0.95;

export class ShadowUpkeep {
  readonly #deps: ShadowUpkeepDeps;
  readonly #options: Required<ShadowUpkeepOptions>;
  #conflicts = 0;
  #task: Scheduled | undefined;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(deps: ShadowUpkeepDeps, options: ShadowUpkeepOptions = {}) {
    this.#deps = deps;
    this.#options = { ...defaults, ...options };
  }

  async open(): Promise<void> {
    const { shadows, schedule } = this.#deps;
    this.#conflicts = await this.#count();
    shadows.history.onFull(() => void this.run());
    shadows.onConflicts((added) => {
      this.#conflicts += added;
      if (this.#conflicts > this.#options.maxConflicts) void this.run();
    });
    this.#task = schedule(this.#options.cron, () => this.run());
  }

  /** Looks now; one at a time. Never rejects: what could not go now goes at the next turn. */
  run(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** What was put down while nobody knew the time gets its time. Never rejects: what fails keeps the time it has. */
  async correct(correction: ClockCorrection): Promise<void> {
    const { shadows, site, log } = this.#deps;
    const { from, to, step } = correction;
    const dated = (column: string) => ({
      sql: `UPDATE shadow_conflicts SET ${column} = ${column} + ?
        WHERE since = ? AND ${column} BETWEEN ? AND ?`,
      params: [step, timeUnknown, from, to],
    });
    try {
      await site.commit([dated('detected_at'), dated('settled_at')]);
      await shadows.history.correct(correction);
    } catch (error) {
      log.error({ err: error }, 'what changed in shadows could not be given its time');
    }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#task?.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, log, shadows } = this.#deps;
    const { historyMs, conflictMs } = this.#options;
    try {
      const tooMany = await shadows.history.pruneToQuota();
      if (tooMany > 0) log.warn({ changes: tooMany }, 'the history of shadows was full');
      await this.#dropConflicts();
      if (!clock.trusted) return;
      await shadows.history.pruneOlder(clock.now() - historyMs);
      await this.#dateConflicts(clock.now());
      await this.#pruneConflicts(clock.now() - conflictMs);
    } catch (error) {
      log.error({ err: error }, 'conflicts and history of shadows could not be pruned');
    }
  }

  /** The age of what came up while nobody knew the time is counted from now on. */
  async #dateConflicts(now: number): Promise<void> {
    const sql = 'UPDATE shadow_conflicts SET since = ? WHERE since = ?';
    await this.#deps.site.commit([{ sql, params: [now, timeUnknown] }]);
  }

  async #pruneConflicts(before: number): Promise<void> {
    const sql = `SELECT device, name, id, settled_at FROM shadow_conflicts
      WHERE since < ? ORDER BY since LIMIT ${conflictsAtOnce}`;
    for (;;) {
      const rows = await this.#deps.site.read.all<ConflictRow>(sql, [before]);
      await this.#forget(rows, false);
      if (rows.length < conflictsAtOnce) return;
    }
  }

  /** Settled ones first, then the oldest. */
  async #dropConflicts(): Promise<void> {
    const { maxConflicts } = this.#options;
    this.#conflicts = await this.#count();
    if (this.#conflicts <= maxConflicts) return;
    for (;;) {
      const excess = Math.ceil(this.#conflicts - maxConflicts * prunedTo);
      if (excess <= 0) return;
      const limit = Math.min(excess, conflictsAtOnce);
      const rows = await this.#oldestToGo(limit);
      if (rows.length === 0) return;
      await this.#forget(rows, true);
      const open = rows.filter(({ settled_at }) => settled_at === null).length;
      this.#deps.log.warn({ conflicts: rows.length, open }, 'there were too many conflicts');
      this.#conflicts = await this.#count();
    }
  }

  async #oldestToGo(limit: number): Promise<ConflictRow[]> {
    const { read } = this.#deps.site;
    const columns = 'SELECT device, name, id, settled_at FROM shadow_conflicts';
    const settled = await read.all<ConflictRow>(
      `${columns} WHERE settled_at IS NOT NULL ORDER BY settled_at LIMIT ?`,
      [limit],
    );
    if (settled.length > 0) return settled;
    return read.all<ConflictRow>(
      `${columns} WHERE settled_at IS NULL ORDER BY detected_at LIMIT ?`,
      [limit],
    );
  }

  async #forget(rows: readonly ConflictRow[], isLoss: boolean): Promise<void> {
    const byShadow = new Map<string, ConflictRow[]>();
    for (const row of rows) byShadow.set(textOf(row), [...(byShadow.get(textOf(row)) ?? []), row]);
    for (const group of byShadow.values()) {
      const [first] = group;
      if (first === undefined) continue;
      const key = { device: first.device, name: first.name };
      const open = group.filter(({ settled_at }) => settled_at === null).length;
      await this.#deps.shadows.forget(key, new Set(group.map(({ id }) => id)), [
        ...group.map(({ id }) => removal(key, id)),
        ...(isLoss ? droppedWrite(key, open, this.#deps.clock.now()) : []),
      ]);
    }
  }

  async #count(): Promise<number> {
    const sql = 'SELECT COUNT(*) AS count FROM shadow_conflicts';
    return (await this.#deps.site.read.get<{ count: number }>(sql))?.count ?? 0;
  }
}

interface ConflictRow extends ShadowKey {
  readonly id: string;
  readonly settled_at: number | null;
}
