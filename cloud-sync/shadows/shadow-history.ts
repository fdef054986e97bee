/**
 * What changed in the shadows of a site, in the order of the commits here. It stays within its bytes by itself: where a change has no room
 * the oldest go, are counted, and the shadows they were of say from which version on their history is whole.
 */
import { changesBetween, type WriterChange } from '@holdfast/protos/semantics/shadow-history';
import type { ShadowOperation } from '@holdfast/protos/semantics/shadow-merge';
import type { Kysely } from 'kysely';
import type { Signals } from '../bus/signals.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import type { ShadowKey } from './shadow-records.js';
import type { ShadowReplica } from './shadow-replica.js';

export interface ShadowHistoryDependencies {
  readonly signals: Signals;
  readonly now: () => number;
}

export interface ShadowHistoryOptions {
  /** Of one site. */
  readonly maxBytes: number;
}

/** A commit's change of one shadow. */
export interface NewChange {
  readonly key: ShadowKey;
  readonly version: number;
  readonly isDeletion: boolean;
  readonly writers: readonly WriterChange[];
}

/** Undefined when nothing changed that can be seen. `writer` is who deleted a shadow that held nothing. */
export const changeOf = (
  key: ShadowKey,
  before: ShadowReplica,
  after: ShadowReplica,
  operations: readonly ShadowOperation[],
  { writer, now }: { readonly writer: string; readonly now: number },
): NewChange | undefined => {
  const isDeletion = before.exists && !after.exists;
  const writers = changesBetween(before.state, after.state, operations);
  if (writers.length === 0) {
    if (!isDeletion) return undefined;
    writers.push({ writer, writtenAt: now, trusted: true, changes: [] });
  }
  return { key, version: after.version, isDeletion, writers };
};

export class ShadowHistory {
  readonly #signals: Signals;
  readonly #now: () => number;
  readonly #maxBytes: number;

  constructor({ signals, now }: ShadowHistoryDependencies, { maxBytes }: ShadowHistoryOptions) {
    this.#signals = signals;
    this.#now = now;
    this.#maxBytes = maxBytes;
  }

  /** Puts changes of one site down within the transaction that made them, and wakes who watches after its commit. */
  async append(tx: WriteTransaction, site: string, changes: readonly NewChange[]): Promise<void> {
    if (changes.length === 0) return;
    const before = await readHistory(tx.db, site);
    const rows = rowsOf(changes, before.last_position, this.#now());
    for (let at = 0; at < rows.length; at += rowsAtOnce) {
      await tx.db
        .insertInto('shadow_changes')
        .values(rows.slice(at, at + rowsAtOnce))
        .execute();
    }
    const after = {
      ...before,
      last_position: before.last_position + rows.length,
      bytes: before.bytes + rows.reduce((sum, { bytes }) => sum + bytes, 0),
    };
    const { site_id: _site, ...values } = after;
    await tx.db
      .insertInto('shadow_histories')
      .values(after)
      .onConflict((c) => c.column('site_id').doUpdateSet(values))
      .execute();
    if (after.bytes > this.#maxBytes) await this.makeRoom(tx, site);
    tx.afterCommit(() => {
      for (const { key } of changes) {
        this.#signals.publish(`shadow:${site}/${key.device}/${key.shadow}`);
      }
    });
  }

  /** Drops the oldest changes of a site until some of its bytes are free. */
  async makeRoom({ db }: Pick<WriteTransaction, 'db'>, site: string): Promise<void> {
    const roomy = this.#maxBytes * roomyPart;
    for (;;) {
      const history = await readHistory(db, site);
      if (history.bytes <= roomy) return;
      const oldest = await db
        .selectFrom('shadow_changes')
        .select(changeColumns)
        .where('site_id', '=', site)
        .orderBy('position')
        .limit(rowsAtOnce)
        .execute();
      let left = history.bytes;
      const enough = oldest.findIndex(({ bytes }) => {
        left -= bytes;
        return left <= roomy;
      });
      const gone = enough < 0 ? oldest : oldest.slice(0, enough + 1);
      if (gone.length === 0) return;
      await removeChanges(db, site, gone);
      await db
        .updateTable('shadow_histories')
        .set({
          dropped_changes: history.dropped_changes + gone.length,
          dropped_until: Math.max(...gone.map(({ at }) => at)),
        })
        .where('site_id', '=', site)
        .execute();
    }
  }

  /** Forgets changes of a site that were committed at or before `until`, so many at most; returns how many. */
  async forget(
    { db }: Pick<WriteTransaction, 'db'>,
    site: string,
    { until, limit }: { readonly until: number; readonly limit: number },
  ): Promise<number> {
    const old = await db
      .selectFrom('shadow_changes')
      .select(changeColumns)
      .where('site_id', '=', site)
      .where('at', '<=', until)
      .orderBy('at')
      .orderBy('position')
      .limit(limit)
      .execute();
    if (old.length > 0) await removeChanges(db, site, old);
    return old.length;
  }

  /** The sites whose history has something to forget: changes from then or before, or more than its bytes. */
  async sitesToForget(db: Kysely<Schema>, until: number): Promise<string[]> {
    const rows = await db
      .selectFrom('shadow_histories')
      .select('site_id')
      .where((eb) =>
        eb.or([
          eb('bytes', '>', this.#maxBytes),
          eb.exists(
            eb
              .selectFrom('shadow_changes')
              .select('position')
              .whereRef('shadow_changes.site_id', '=', 'shadow_histories.site_id')
              .where('at', '<=', until)
              .limit(1),
          ),
        ]),
      )
      .execute();
    return rows.map(({ site_id }) => site_id);
  }
}

const readHistory = async (
  db: Kysely<Schema>,
  site: string,
): Promise<Schema['shadow_histories']> => {
  const row = await db
    .selectFrom('shadow_histories')
    .selectAll()
    .where('site_id', '=', site)
    .executeTakeFirst();
  return row ?? { site_id: site, last_position: 0, bytes: 0, dropped_changes: 0, dropped_until: 0 };
};

const rowsOf = (
  changes: readonly NewChange[],
  lastPosition: number,
  now: number,
): Schema['shadow_changes'][] => {
  let position = lastPosition;
  return changes.flatMap(({ key, version, isDeletion, writers }) =>
    writers.map(({ writer, writtenAt, trusted, changes: leaves }) => {
      position += 1;
      const text = JSON.stringify(leaves);
      return {
        ...{ site_id: key.site, position, device_id: key.device, shadow: key.shadow, version },
        ...{ at: now, writer, written_at: writtenAt, is_trusted: trusted ? 1 : 0 },
        ...{ is_deletion: isDeletion ? 1 : 0, changes: text },
        bytes: Buffer.byteLength(text) + rowOverheadBytes,
      };
    }),
  );
};

const changeColumns = ['position', 'device_id', 'shadow', 'version', 'at', 'bytes'] as const;

/** Whoever takes changes away says where the history of their shadows begins now. */
const removeChanges = async (
  db: Kysely<Schema>,
  site: string,
  gone: readonly Pick<Schema['shadow_changes'], (typeof changeColumns)[number]>[],
): Promise<void> => {
  await db
    .deleteFrom('shadow_changes')
    .where('site_id', '=', site)
    .where(
      'position',
      'in',
      gone.map(({ position }) => position),
    )
    .execute();
  const newest = new Map<string, (typeof gone)[number]>();
  for (const row of gone) {
    const key = `${row.device_id}/${row.shadow}`;
    if ((newest.get(key)?.version ?? -1) <= row.version) newest.set(key, row);
  }
  for (const { device_id, shadow, version } of newest.values()) {
    await db
      .updateTable('shadows')
      .set({ history_after: version })
      .where('site_id', '=', site)
      .where('device_id', '=', device_id)
      .where('shadow', '=', shadow)
      .where('history_after', '<', version)
      .execute();
  }
  const bytes = gone.reduce((sum, row) => sum + row.bytes, 0);
  await db
    .updateTable('shadow_histories')
    .set((eb) => ({ bytes: eb('bytes', '-', bytes) }))
    .where('site_id', '=', site)
    .execute();
};

/** Both engines bound the parameters of a statement. */
const rowsAtOnce = 500;
/** What a row costs besides its changes, with its place in three indexes. */
const rowOverheadBytes = 200;
/** So that not every change drops one. */
const roomyPart = 0.95;
