/** What is forgotten of shadows when it is old: their history, and conflicts with what was lost in them. */
import { forgetLost } from '@holdfast/protos/semantics/forget-operations';
import { idOf } from '@holdfast/protos/semantics/shadow-merge';
import type { Kysely } from 'kysely';
import type { Aging } from '../store/retention.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine } from '../store/sql-engine.js';
import { type ConflictRow, conflictOf } from './conflict-records.js';
import type { ShadowHistory } from './shadow-history.js';
import { readShadow, stateText } from './shadow-records.js';

export interface AgingChangesDependencies {
  readonly engine: SqlEngine;
  readonly history: ShadowHistory;
}

/** By when they were committed here; what a setting that is smaller now leaves no room for goes too. */
export const agingChanges = (
  { engine, history }: AgingChangesDependencies,
  days: number,
): Aging => ({
  name: 'shadowChanges',
  days,
  async forget(until, repeat) {
    let rows = 0;
    for (const site of await history.sitesToForget(engine.read, until)) {
      rows += await repeat((tx, limit) => history.forget(tx, site, { until, limit }));
      await engine.write((tx) => history.makeRoom(tx, site));
    }
    return rows;
  },
});

/** Open ones by when they were found, settled ones by when they were settled. */
export const agingConflicts = (days: number): Aging => ({
  name: 'conflicts',
  days,
  forget: async (until, repeat) =>
    (await repeat(({ db }, limit) =>
      forgetConflicts(db, (query) =>
        query.where('is_open', '=', 1).where('detected_at', '<=', until).limit(limit),
      ),
    )) +
    (await repeat(({ db }, limit) =>
      forgetConflicts(db, (query) => query.where('settled_at', '<=', until).limit(limit)),
    )),
});

const selectConflicts = (db: Kysely<Schema>) => db.selectFrom('shadow_conflicts').selectAll();
type ConflictQuery = ReturnType<typeof selectConflicts>;

const forgetConflicts = async (
  db: Kysely<Schema>,
  choose: (query: ConflictQuery) => ConflictQuery,
): Promise<number> => {
  const old = await choose(selectConflicts(db)).execute();
  const byShadow = new Map<string, ConflictRow[]>();
  for (const row of old) {
    const key = `${row.site_id}/${row.device_id}/${row.shadow}`;
    byShadow.set(key, [...(byShadow.get(key) ?? []), row]);
  }
  for (const rows of byShadow.values()) await forgetOfShadow(db, rows);
  return old.length;
};

/** Nothing that can be seen changes, so the shadow's version stays and nobody is told: the site forgets by itself. */
const forgetOfShadow = async (db: Kysely<Schema>, rows: readonly ConflictRow[]): Promise<void> => {
  const [first] = rows;
  if (first === undefined) return;
  const { site_id, device_id, shadow } = first;
  const before = await readShadow(db, { site: site_id, device: device_id, shadow });
  const losers = new Set(rows.map((row) => idOf(conflictOf(row).loser)));
  const state = forgetLost(before.state, losers);
  if (state !== before.state) {
    await db
      .updateTable('shadows')
      .set({ state: stateText({ state }) })
      .where('site_id', '=', site_id)
      .where('device_id', '=', device_id)
      .where('shadow', '=', shadow)
      .execute();
  }
  await db
    .deleteFrom('shadow_conflicts')
    .where('site_id', '=', site_id)
    .where('device_id', '=', device_id)
    .where('shadow', '=', shadow)
    .where(
      'conflict_id',
      'in',
      rows.map(({ conflict_id }) => conflict_id),
    )
    .execute();
};
