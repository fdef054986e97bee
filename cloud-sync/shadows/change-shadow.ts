/** A change of a shadow by the control plane: decided on what is committed, stored, and told to the site, in one transaction. */
import { requireDevice } from '../devices/device-records.js';
import type { NewOrder, Orders } from '../link/orders.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { latestTimeOf, readShadow, type ShadowKey, storeShadow } from './shadow-records.js';
import type { ShadowChange, ShadowReplica, WriteContext } from './shadow-replica.js';

export interface ChangeShadowDependencies {
  readonly engine: SqlEngine;
  readonly orders: Orders;
  readonly now: () => number;
}

/** Errors: RESOURCE_NOT_FOUND (the device), what `decide` throws. */
export const changeShadow = async (
  { engine, orders, now }: ChangeShadowDependencies,
  tx: WriteTransaction,
  key: ShadowKey,
  decide: (before: ShadowReplica, context: WriteContext) => ShadowChange,
): Promise<void> => {
  await requireDevice(tx.db, key);
  const before = await readShadow(tx.db, key);
  const context: WriteContext = {
    replica: replicaName(engine),
    seen: await latestTimeOf(tx.db, key.site),
    now: now(),
  };
  const changed = decide(before, context);
  await storeShadow(tx.db, key, before, changed.shadow, context.now);
  await orders.append(tx, key.site, ordersOf(key, changed));
};

/** A database that was made anew has another log, so what it mints is not taken for what the lost one had written. */
export const replicaName = ({ log }: Pick<SqlEngine, 'log'>): string => log.slice(0, 12);

/** What the site is told of a change; nothing when there is nothing to tell. */
export const ordersOf = (
  { device, shadow }: ShadowKey,
  { operations, dead, isDeletion = false }: Omit<ShadowChange, 'shadow'>,
): NewOrder[] => {
  if (operations.length + dead.length === 0 && !isDeletion) return [];
  return [
    {
      kind: 'shadow',
      body: {
        device,
        shadow,
        operations: [...operations],
        ...(dead.length === 0 ? {} : { dead: [...dead] }),
        ...(isDeletion ? { deleted: true } : {}),
      },
    },
  ];
};
