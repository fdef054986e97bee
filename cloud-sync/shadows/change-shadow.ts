/** A change of a shadow by the control plane: decided on what is committed, stored, and told to the site, in one transaction. */
import { requireDevice } from '../devices/device-records.js';
import type { NewOrder, Orders } from '../link/orders.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { changeOf, type ShadowHistory } from './shadow-history.js';
import { latestTimeOf, readShadow, type ShadowKey, storeShadow } from './shadow-records.js';
import type { ShadowChange, ShadowReplica, WriteContext } from './shadow-replica.js';

export interface ChangeShadowDependencies {
  readonly engine: SqlEngine;
  readonly orders: Orders;
  readonly history: ShadowHistory;
  readonly now: () => number;
}

/** `writer`: as `cloud:{caller}`. Errors: RESOURCE_NOT_FOUND (the device), what `decide` throws. */
export const changeShadow = async (
  { engine, orders, history, now }: ChangeShadowDependencies,
  tx: WriteTransaction,
  key: ShadowKey & { readonly writer: string },
  decide: (before: ShadowReplica, context: WriteContext) => ShadowChange,
): Promise<void> => {
  const { writer } = key;
  await requireDevice(tx.db, key);
  const before = await readShadow(tx.db, key);
  const context: WriteContext = {
    replica: replicaName(engine),
    writer,
    seen: await latestTimeOf(tx.db, key.site),
    now: now(),
  };
  const changed = decide(before, context);
  const { shadow: after, operations } = changed;
  await storeShadow(tx.db, key, { before, after, operations }, context.now);
  const change = changeOf(key, before, after, operations, { writer, now: context.now });
  if (change !== undefined) await history.append(tx, key.site, [change]);
  await orders.append(tx, key.site, ordersOf(key, changed));
};

/** A database that was made anew has another log, so what it mints is not taken for what the lost one had written. */
export const replicaName = ({ log }: Pick<SqlEngine, 'log'>): string => log.slice(0, 12);

/** What the site is told of a change; nothing when there is nothing to tell. */
export const ordersOf = (
  { device, shadow }: ShadowKey,
  { operations, lost = [], dead, isDeletion = false }: Omit<ShadowChange, 'shadow'>,
): NewOrder[] => {
  if (operations.length + lost.length + dead.length === 0 && !isDeletion) return [];
  return [
    {
      kind: 'shadow',
      body: {
        device,
        shadow,
        operations: [...operations],
        ...(lost.length === 0 ? {} : { lost: [...lost] }),
        ...(dead.length === 0 ? {} : { dead: [...dead] }),
        ...(isDeletion ? { deleted: true } : {}),
      },
    },
  ];
};
