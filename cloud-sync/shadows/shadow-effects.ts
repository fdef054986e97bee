/** What the sites wrote into their shadows, merged here; and everything that is merged here, for a site that lost its own. */
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { EntryBody } from '@holdfast/protos/link/journal-entries';
import { isDeviceId, isShadowName } from '@holdfast/protos/mqtt/device-id';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import {
  parseShadowOperations,
  parseShadowWriteIds,
} from '@holdfast/protos/semantics/shadow-operation-schema';
import { ensureDevice } from '../devices/device-records.js';
import type {
  EffectContext,
  EffectEntry,
  EffectRegistry,
  EntryProblem,
} from '../effects/effect-registry.js';
import { orderParts } from '../link/merge-orders.js';
import type { NewOrder, Orders } from '../link/orders.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { ordersOf, replicaName } from './change-shadow.js';
import { changeOf, type NewChange, type ShadowHistory } from './shadow-history.js';
import { readShadow, replicaOf, type ShadowKey, storeShadow } from './shadow-records.js';
import {
  answerTo,
  everythingOf,
  mergeHandedOver,
  mergeReceived,
  type Received,
  type ShadowChange,
} from './shadow-replica.js';

export interface ShadowEffectsDependencies {
  readonly engine: SqlEngine;
  readonly effects: EffectRegistry;
  readonly orders: Orders;
  readonly history: ShadowHistory;
}

export const registerShadowEffects = ({
  engine,
  effects,
  orders,
  history,
}: ShadowEffectsDependencies): void => {
  const replica = replicaName(engine);
  effects.register('state', 'shadow', async (context, entries) => {
    const problems: EntryProblem[] = [];
    const owed: NewOrder[] = [];
    const changes: NewChange[] = [];
    for (const entry of entries) {
      const received = parseEntry(entry);
      if (typeof received === 'string') problems.push({ seq: entry.seq, problem: received });
      else {
        const merged = await merge(context, replica, entry, received);
        owed.push(...merged.owed);
        if (merged.change !== undefined) changes.push(merged.change);
      }
    }
    await history.append(context.tx, context.site, changes);
    await orders.append(context.tx, context.site, owed);
    return problems;
  });
  orders.onResupply('shadow', (tx, site) => resupply(orders, replica, tx, site));
};

/** What is wrong with an entry, or what it says. */
const parseEntry = ({ body }: EffectEntry<EntryBody<'state', 'shadow'>>): Received | string => {
  if (!isDeviceId(body.device)) return 'body: no device id';
  if (body.shadow !== classicShadow && !isShadowName(body.shadow)) return 'body: no shadow name';
  try {
    return {
      operations: parseShadowOperations(body.operations),
      dead: parseShadowWriteIds(body.dead ?? []),
      lost: parseShadowOperations(body.lost ?? []),
      isDeletion: body.deleted === true,
      isEverything: body.everything === true,
    };
  } catch (error) {
    if (isHoldfastError(error, 'REQUEST_INVALID')) return `body: ${error.message}`;
    throw error;
  }
};

interface Merged {
  /** What the site has to be told of it. */
  readonly owed: readonly NewOrder[];
  readonly change?: NewChange | undefined;
}

const merge = async (
  { tx, site, isFenced, now }: EffectContext,
  replica: string,
  { at, body: { device, shadow } }: EffectEntry<EntryBody<'state', 'shadow'>>,
  received: Received,
): Promise<Merged> => {
  const key: ShadowKey = { site, device, shadow };
  await ensureDevice(tx, site, device);
  const before = await readShadow(tx.db, key);
  const change = (isFenced ? mergeHandedOver : mergeReceived)(before, received, replica);
  const answer = isFenced ? undefined : answerTo(received, change?.shadow ?? before, replica);
  const answers = answer === undefined ? [] : everythingOrders(key, answer);
  if (change === undefined) return { owed: answers };
  const { operations } = received;
  await storeShadow(tx.db, key, { before, after: change.shadow, operations }, now);
  return {
    owed: answer === undefined ? ordersOf(key, change) : answers,
    change: changeOf(key, before, change.shadow, operations, { writer: 'site', now: at }),
  };
};

/** A gateway takes no message of any size: this much of what lost, or is dead, goes with one order. */
const mostLost = { bytes: 2 * 1024 * 1024, count: Number.POSITIVE_INFINITY };

/** What lost goes with what it lost to, as far as it may: the site forgets deletions with the order that brings them. */
const partsOf = ({
  operations,
  lost,
  dead,
}: ReturnType<typeof everythingOf>): Omit<ShadowChange, 'shadow'>[] => {
  const parts = orderParts(operations);
  const [lostFirst = [], ...lostMore] = orderParts(lost, mostLost);
  const [deadFirst = [], ...deadMore] = orderParts(dead, mostLost);
  return [
    ...parts.slice(0, -1).map((part) => ({ operations: part, dead: [] })),
    // What is dead is there by then: it is one of the operations, and they come in this order.
    { operations: parts.at(-1) ?? [], lost: lostFirst, dead: deadFirst },
    ...lostMore.map((part) => ({ operations: [], lost: part, dead: [] })),
    ...deadMore.map((part) => ({ operations: [], dead: part })),
  ];
};

const everythingOrders = (key: ShadowKey, all: ReturnType<typeof everythingOf>): NewOrder[] =>
  partsOf(all).flatMap((part) => ordersOf(key, part));

const resupply = async (
  orders: Orders,
  replica: string,
  tx: WriteTransaction,
  site: string,
): Promise<void> => {
  let after: { readonly device: string; readonly shadow: string } = { device: '', shadow: '' };
  for (;;) {
    const { device, shadow } = after;
    const rows = await tx.db
      .selectFrom('shadows')
      .selectAll()
      .where('site_id', '=', site)
      // As one value: a chain of alternatives would read the site's shadows from the first on each time.
      .where((eb) => eb(eb.refTuple('device_id', 'shadow'), '>', eb.tuple(device, shadow)))
      .orderBy('device_id')
      .orderBy('shadow')
      .limit(200)
      .execute();
    for (const row of rows) {
      after = { device: row.device_id, shadow: row.shadow };
      const everything = everythingOf(replicaOf(row), replica);
      await orders.append(tx, site, everythingOrders({ site, ...after }, everything));
    }
    if (rows.length === 0) return;
  }
};
