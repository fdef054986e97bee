/** Where the life of each device stands: what its site said last, and what was decided here or there, of which the later counts. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { EntryBody } from '@holdfast/protos/link/journal-entries';
import type { DeviceBody } from '@holdfast/protos/link/plan-documents';
import { type HybridTime, mintTime, zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import {
  compareDecisions,
  type LifecycleAction,
  type LifecycleState,
  nextLifecycle,
} from '@holdfast/protos/semantics/lifecycle';
import type { Kysely } from 'kysely';
import type { PlanContent, PlanDocumentProvider } from '../sites/plan-documents.js';
import type { DeviceLifeTables } from '../store/device-life-tables.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import { countDevice, type DeviceKey, parseLabels } from './device-records.js';

export type DeviceLife = DeviceLifeTables['device_lives'];

/** Undefined when nothing was ever said or decided of it. */
export const readLife = (
  db: Kysely<Schema>,
  { site, device }: DeviceKey,
): Promise<DeviceLife | undefined> =>
  db
    .selectFrom('device_lives')
    .selectAll()
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .executeTakeFirst();

export interface Decision {
  readonly action: LifecycleAction;
  readonly reason: string;
  /** As `cloud:admin`. */
  readonly actor: string;
  /** The device is deleted with it. */
  readonly isRemoved?: boolean;
}

/**
 * Notes what somebody decided here, above every decision that is known. The caller asks for the plan of the site. Errors:
 * RESOURCE_STATE_WRONG.
 */
export const decideLife = async (
  tx: WriteTransaction,
  key: DeviceKey,
  { action, reason, actor, isRemoved = false }: Decision,
  now: number,
): Promise<void> => {
  const life = (await readLife(tx.db, key)) ?? newLife(key, now);
  // Only what a site said, or `newLife`, stands there.
  const state = life.state as LifecycleState;
  if (nextLifecycle(state, action) === undefined) {
    throw new HoldfastError(
      'RESOURCE_STATE_WRONG',
      `${key.device} is ${state}: ${action} is not possible`,
    );
  }
  const last = decidedAtOf(life);
  const decidedAt = mintTime({ seen: last, overwritten: last }, { now, trusted: true });
  if (isRemoved) await countDevice(tx, key.site, -1);
  await writeLife(tx, {
    ...life,
    action,
    // Said again without a reason, it is so for the reason before.
    decided_reason: reason === '' && action === life.action ? life.decided_reason : reason,
    decided_by: actor,
    decided_wall: decidedAt.wall,
    decided_counter: decidedAt.counter,
    is_pending: 1,
    is_removed: isRemoved ? 1 : 0,
  });
};

/** Takes in what a site says. Whether the plan has to name another decision from now on. */
export const takeLifecycle = async (
  tx: WriteTransaction,
  site: string,
  at: number,
  body: EntryBody<'audit', 'device_lifecycle'>,
): Promise<boolean> => {
  const { device, to: state, reason, actor, decided_at: decidedAt } = body;
  const life = (await readLife(tx.db, { site, device })) ?? newLife({ site, device }, at);
  const said = { ...life, state, since: at, reason, actor };
  const known = { decided_at: decidedAtOf(life), actor: life.decided_by };
  const counts = decidedAt !== null && compareDecisions({ decided_at: decidedAt, actor }, known);
  // The one that was made here is still on its way, or the site's followed from no decision at all.
  if (counts === false || counts < 0) {
    await writeLife(tx, {
      ...said,
      is_removed: life.is_removed === forgotten ? 0 : life.is_removed,
    });
    return false;
  }
  const action = actionOf(state);
  if (counts > 0 && life.is_removed === 1) await countDevice(tx, site, 1);
  await writeLife(tx, {
    ...said,
    action,
    decided_reason: reason,
    decided_by: actor,
    decided_wall: decidedAt?.wall ?? 0,
    decided_counter: decidedAt?.counter ?? 0,
    is_pending: 0,
    // The site says itself when it has forgotten one that was deleted; what it enrolled since is a new one.
    is_removed: counts > 0 ? 0 : life.is_removed,
  });
  return life.action !== action || counts > 0 || life.is_pending === 1;
};

/**
 * What a plan says of devices: those that have labels, those that are out of service, whoever decided it, and what its site has not taken
 * up yet.
 */
export const deviceDocuments: PlanDocumentProvider = async (db, site) => {
  const rows = await db
    .selectFrom('device_lives')
    .selectAll()
    .where('site_id', '=', site)
    .where((eb) => eb.or([eb('action', 'in', ['disable', 'retire']), eb('is_pending', '=', 1)]))
    .orderBy('device_id')
    .execute();
  const labelled = await db
    .selectFrom('devices')
    .select(['device_id', 'labels'])
    .where('site_id', '=', site)
    .where('labels', '!=', '{}')
    .execute();
  const documents = new Map<string, DeviceBody>(
    labelled.map((row) => [row.device_id, { removed: false, labels: parseLabels(row.labels) }]),
  );
  for (const row of rows) {
    const lifecycle = {
      // Only `decideLife` and `takeLifecycle` write it.
      action: row.action as LifecycleAction,
      reason: row.decided_reason,
      actor: row.decided_by,
      decided_at: decidedAtOf(row),
    };
    const labels = documents.get(row.device_id)?.labels ?? {};
    documents.set(row.device_id, { lifecycle, removed: row.is_removed === 1, labels });
  }
  return [...documents].map(([id, body]): PlanContent => ({ kind: 'device', id, body }));
};

/** The site has forgotten it at `at`; what other lanes still bring of it from before then changes nothing (`isOfForgotten`). */
export const forgetLife = async (
  tx: WriteTransaction,
  key: DeviceKey,
  at: number,
): Promise<void> => {
  const life = (await readLife(tx.db, key)) ?? newLife(key, at);
  await writeLife(tx, { ...life, since: at, action: '', is_pending: 0, is_removed: forgotten });
};

/** Whether what a site said at `at` is of a device that it has forgotten since; the lanes are not ordered among each other. */
export const isOfForgotten = async (
  db: Kysely<Schema>,
  key: DeviceKey,
  at: number,
): Promise<boolean> => {
  const life = await readLife(db, key);
  return life?.is_removed === forgotten && at <= life.since;
};

const forgotten = 2;

const newLife = ({ site, device }: DeviceKey, now: number): DeviceLife => ({
  site_id: site,
  device_id: device,
  state: 'active',
  since: now,
  reason: '',
  actor: 'site',
  action: '',
  decided_reason: '',
  decided_by: '',
  decided_wall: zeroTime.wall,
  decided_counter: zeroTime.counter,
  is_pending: 0,
  is_removed: 0,
});

const writeLife = async ({ db }: WriteTransaction, life: DeviceLife): Promise<void> => {
  const { site_id: _, device_id: __, ...values } = life;
  await db
    .insertInto('device_lives')
    .values(life)
    .onConflict((c) => c.columns(['site_id', 'device_id']).doUpdateSet(values))
    .execute();
};

const decidedAtOf = (life: DeviceLife): HybridTime => ({
  wall: life.decided_wall,
  counter: life.decided_counter,
});

const actionOf = (state: LifecycleState): LifecycleAction => {
  if (state === 'disabled') return 'disable';
  return state === 'retired' ? 'retire' : 'enable';
};
