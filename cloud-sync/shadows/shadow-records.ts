/** The rows of shadows and of their conflicts. */
import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type HybridTime, zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import {
  conflictsOf,
  idOf,
  keyOf,
  type ShadowConflict,
  type ShadowState,
} from '@holdfast/protos/semantics/shadow-merge';
import { parseShadowOperations } from '@holdfast/protos/semantics/shadow-operation-schema';
import type { Kysely, Selectable } from 'kysely';
import * as v from 'valibot';
import type { DeviceKey } from '../devices/device-records.js';
import type { Schema } from '../store/schema.js';
import { noShadow, type ShadowReplica } from './shadow-replica.js';

export interface ShadowKey extends DeviceKey {
  /** `-` for the classic one. */
  readonly shadow: string;
}

export type ShadowRow = Selectable<Schema['shadows']>;

/** A shadow that was never there is `noShadow`. Errors: STORE_CORRUPT. */
export const readShadow = async (
  db: Kysely<Schema>,
  { site, device, shadow }: ShadowKey,
): Promise<ShadowReplica> => {
  const row = await db
    .selectFrom('shadows')
    .selectAll()
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .where('shadow', '=', shadow)
    .executeTakeFirst();
  return row === undefined ? noShadow : replicaOf(row);
};

/** Errors: STORE_CORRUPT. */
export const replicaOf = (row: ShadowRow): ShadowReplica => {
  try {
    const { leaves, lost } = v.parse(stateSchema, JSON.parse(row.state));
    return {
      version: row.version,
      exists: row.is_present === 1,
      state: {
        leaves: new Map(parseShadowOperations(leaves).map((leaf) => [keyOf(leaf.path), leaf])),
        lost: new Map(parseShadowOperations(lost).map((loser) => [idOf(loser), loser])),
      },
      time: { wall: row.wall, counter: row.counter },
    };
  } catch (cause) {
    throw new HoldfastError('STORE_CORRUPT', 'A shadow in the database is damaged', { cause });
  }
};

/** Stores a changed shadow with its conflicts. */
export const storeShadow = async (
  db: Kysely<Schema>,
  key: ShadowKey,
  before: ShadowReplica,
  after: ShadowReplica,
  now: number,
): Promise<void> => {
  const { leaves, lost } = after.state;
  const values = {
    version: after.version,
    is_present: after.exists ? 1 : 0,
    state: JSON.stringify({ leaves: [...leaves.values()], lost: [...lost.values()] }),
    wall: after.time.wall,
    counter: after.time.counter,
    updated_at: now,
  };
  await db
    .insertInto('shadows')
    .values({ site_id: key.site, device_id: key.device, shadow: key.shadow, ...values })
    .onConflict((c) => c.columns(['site_id', 'device_id', 'shadow']).doUpdateSet(values))
    .execute();
  await storeConflicts(db, key, before.state, after.state, now);
};

/** The highest time that was seen in any shadow of the site. Sites never exchange operations, so each has a time of its own. */
export const latestTimeOf = async (db: Kysely<Schema>, site: string): Promise<HybridTime> => {
  const row = await db
    .selectFrom('shadows')
    .select(['wall', 'counter'])
    .where('site_id', '=', site)
    .orderBy('wall', 'desc')
    .orderBy('counter', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row ?? zeroTime;
};

const stateSchema = v.object({ leaves: v.array(v.unknown()), lost: v.array(v.unknown()) });

const storeConflicts = async (
  db: Kysely<Schema>,
  { site, device, shadow }: ShadowKey,
  before: ShadowState,
  after: ShadowState,
  now: number,
): Promise<void> => {
  if (before.lost.size + after.lost.size === 0) return;
  const was = conflictsById(before);
  const is = conflictsById(after);
  for (const id of was.keys()) {
    if (is.has(id)) continue;
    await db
      .deleteFrom('shadow_conflicts')
      .where('site_id', '=', site)
      .where('device_id', '=', device)
      .where('shadow', '=', shadow)
      .where('conflict_id', '=', id)
      .execute();
  }
  for (const [id, conflict] of is) {
    const text = JSON.stringify(conflict);
    await db
      .insertInto('shadow_conflicts')
      .values({
        site_id: site,
        device_id: device,
        shadow,
        conflict_id: id,
        detected_at: now,
        conflict: text,
      })
      // What won may have changed since; when it was noticed has not.
      .onConflict((c) =>
        c
          .columns(['site_id', 'device_id', 'shadow', 'conflict_id'])
          .doUpdateSet({ conflict: text }),
      )
      .execute();
  }
};

const conflictsById = (state: ShadowState): Map<string, ShadowConflict> =>
  new Map(
    conflictsOf(state).map((conflict) => [
      createHash('sha256').update(idOf(conflict.loser)).digest('hex'),
      conflict,
    ]),
  );
