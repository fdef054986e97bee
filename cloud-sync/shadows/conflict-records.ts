/** The rows of conflicts: open ones, and those that were settled, with by whom and which value was kept. */
import { createHash } from 'node:crypto';
import {
  type ConflictSettlement,
  settledBetween,
} from '@holdfast/protos/semantics/conflict-settlement';
import {
  conflictsOf,
  idOf,
  type ShadowConflict,
  type ShadowOperation,
  type ShadowState,
} from '@holdfast/protos/semantics/shadow-merge';
import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../store/schema.js';
import type { ShadowKey } from './shadow-records.js';

export type ConflictRow = Selectable<Schema['shadow_conflicts']>;

/** What a row says; `storeConflicts` wrote it. */
export const conflictOf = ({ conflict }: Pick<ConflictRow, 'conflict'>): ShadowConflict =>
  JSON.parse(conflict) as ShadowConflict;

/** Names a conflict among those of its shadow. */
export const conflictId = ({ loser }: Pick<ShadowConflict, 'loser'>): string =>
  createHash('sha256').update(idOf(loser)).digest('hex');

/** Brings the rows to what the conflicts of a shadow are after these operations. */
export const storeConflicts = async (
  db: Kysely<Schema>,
  key: ShadowKey,
  {
    before: { state: before },
    after: { state: after },
    operations,
  }: {
    readonly before: { readonly state: ShadowState };
    readonly after: { readonly state: ShadowState };
    readonly operations: readonly ShadowOperation[];
  },
  now: number,
): Promise<void> => {
  if (before.lost.size + after.lost.size === 0) return;
  for (const settled of settledBetween(before, after, operations)) {
    await settleRow(db, key, settled, now);
  }
  const known = new Map(conflictsOf(before).map((conflict) => [idOf(conflict.loser), conflict]));
  for (const conflict of conflictsOf(after)) {
    const was = known.get(idOf(conflict.loser));
    if (was === undefined || !hasSameWinner(was, conflict)) await openRow(db, key, conflict, now);
  }
};

const hasSameWinner = (a: ShadowConflict, b: ShadowConflict): boolean =>
  a.winner === undefined || b.winner === undefined
    ? a.winner === b.winner
    : idOf(a.winner) === idOf(b.winner) &&
      // An operation may have lost its value to one below it.
      (a.winner.value === undefined) === (b.winner.value === undefined);

const openRow = async (
  db: Kysely<Schema>,
  { site, device, shadow }: ShadowKey,
  conflict: ShadowConflict,
  now: number,
): Promise<void> => {
  const text = JSON.stringify(conflict);
  const open = { is_open: 1, settled_at: null, settled_by: null, kept: null };
  await db
    .insertInto('shadow_conflicts')
    .values({
      ...{ site_id: site, device_id: device, shadow, conflict_id: conflictId(conflict) },
      ...{ detected_at: now, conflict: text },
      ...open,
    })
    // What won may have changed since; when it was noticed has not.
    .onConflict((c) =>
      c
        .columns(['site_id', 'device_id', 'shadow', 'conflict_id'])
        .doUpdateSet({ conflict: text, ...open }),
    )
    .execute();
};

const settleRow = async (
  db: Kysely<Schema>,
  { site, device, shadow }: ShadowKey,
  { conflict, kept, by }: ConflictSettlement,
  now: number,
): Promise<void> => {
  const id = conflictId(conflict);
  if (by === undefined) {
    // Nobody wrote over it: it had to go, since too much has lost in this shadow.
    await db
      .deleteFrom('shadow_conflicts')
      .where('site_id', '=', site)
      .where('device_id', '=', device)
      .where('shadow', '=', shadow)
      .where('conflict_id', '=', id)
      .execute();
    return;
  }
  await db
    .updateTable('shadow_conflicts')
    .set({ is_open: 0, settled_at: now, settled_by: by.stamp.writer, kept })
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .where('shadow', '=', shadow)
    .where('conflict_id', '=', id)
    .where('is_open', '=', 1)
    .execute();
};
