/** The rows of shadows. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type HybridTime, zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { idOf, keyOf, type ShadowOperation } from '@holdfast/protos/semantics/shadow-merge';
import { parseShadowOperations } from '@holdfast/protos/semantics/shadow-operation-schema';
import type { Kysely, Selectable } from 'kysely';
import * as v from 'valibot';
import type { DeviceKey } from '../devices/device-records.js';
import type { Schema } from '../store/schema.js';
import { storeConflicts } from './conflict-records.js';
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

/** Stores what became of a shadow by these operations, with its conflicts. */
export const storeShadow = async (
  db: Kysely<Schema>,
  key: ShadowKey,
  change: {
    readonly before: ShadowReplica;
    readonly after: ShadowReplica;
    readonly operations: readonly ShadowOperation[];
  },
  now: number,
): Promise<void> => {
  const { before, after } = change;
  const values = {
    version: after.version,
    is_present: after.exists ? 1 : 0,
    state: stateText(after),
    wall: after.time.wall,
    counter: after.time.counter,
    updated_at: now,
  };
  const named = { site_id: key.site, device_id: key.device, shadow: key.shadow };
  await db
    .insertInto('shadows')
    .values({ ...named, ...values, history_after: 0 })
    .onConflict((c) =>
      c.columns(['site_id', 'device_id', 'shadow']).doUpdateSet((eb) => ({
        ...values,
        history_after: eb
          .case()
          .when('shadows.history_after', '<', 0)
          .then(before.version)
          .else(eb.ref('shadows.history_after'))
          .end(),
      })),
    )
    .execute();
  await storeConflicts(db, key, change, now);
};

export const stateText = ({ state: { leaves, lost } }: Pick<ShadowReplica, 'state'>): string =>
  JSON.stringify({ leaves: [...leaves.values()], lost: [...lost.values()] });

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
