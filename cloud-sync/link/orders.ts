/**
 * The down lane of each site: desired edits and commands, kept until the site has committed them. An order is appended in the transaction
 * of the change that it carries, so that neither is ever there without the other. It is numbered and chained when it is first read for
 * sending (decisions/0001): until then orders of one shadow are merged, and commands are put before them.
 */
import { randomBytes } from 'node:crypto';
import { type Order, orderBodies } from '@holdfast/protos/link/orders';
import { chainAfter } from '@holdfast/protos/semantics/journal-chain';
import type { Kysely } from 'kysely';
import * as v from 'valibot';
import type { Signals } from '../bus/signals.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import { addWaiting, nextWaiting, removeWaiting, type WaitingOrder } from './waiting-orders.js';

/** An order before it has its number. */
export type NewOrder = Order extends infer O ? (O extends Order ? Omit<O, 'seq'> : never) : never;

export interface StoredOrder {
  readonly seq: number;
  readonly kind: string;
  /** Canonical JSON. */
  readonly body: string;
  /** The hash chain with this order, hexadecimal. */
  readonly chain: string;
}

export interface OrderLane {
  readonly log: string;
  readonly lastSeq: number;
  readonly acknowledgedSeq: number;
  /** The hash chain at each of the two, hexadecimal. */
  readonly lastChain: string;
  readonly acknowledgedChain: string;
  /** The last position of those that have no number yet. */
  readonly lastWaiting: number;
}

/**
 * Runs when a site has lost orders that it had acknowledged (its database was rebuilt or restored): appends anew what it must have, as
 * the whole of what is desired of its devices.
 */
export type Resupply = (tx: WriteTransaction, site: string) => Promise<void>;

/** Ends commands that ran out before they were sent. */
export type EndExpired = (
  tx: WriteTransaction,
  site: string,
  commands: readonly { readonly device: string; readonly command: string }[],
) => Promise<void>;

export interface OrdersDependencies {
  readonly signals: Signals;
  readonly now: () => number;
}

export class Orders {
  readonly #signals: Signals;
  readonly #now: () => number;
  readonly #resupplies = new Map<NewOrder['kind'], Resupply>();
  #endExpired: EndExpired | undefined;

  constructor({ signals, now }: OrdersDependencies) {
    this.#signals = signals;
    this.#now = now;
  }

  /** Who appends anew all that there is of a kind, in place of what is owed of it. To be called before the link is served. */
  onResupply(kind: NewOrder['kind'], resupply: Resupply): void {
    this.#resupplies.set(kind, resupply);
  }

  /** Who ends commands that ran out while they waited; without one they are sent all the same. Before the link is served. */
  onExpired(end: EndExpired): void {
    this.#endExpired = end;
  }

  /** Has orders wait for a site, within the caller's transaction; they leave after its commit. */
  async append(tx: WriteTransaction, site: string, orders: readonly NewOrder[]): Promise<void> {
    if (orders.length === 0) return;
    const before = (await this.lane(tx, site)).lastWaiting;
    let last = before;
    for (const order of orders) {
      const hasTaken = await addWaiting(tx.db, site, order, {
        position: last + 1,
        now: this.#now(),
      });
      if (hasTaken) last += 1;
    }
    if (last > before) {
      await tx.db
        .updateTable('order_lanes')
        .set({ last_waiting: last })
        .where('site_id', '=', site)
        .execute();
    }
    tx.afterCommit(() => this.#signals.publish(`orders:${site}`));
  }

  /** Numbers and chains what goes next, so many at most; returns how many. From then on nothing of it changes. */
  async seal(tx: WriteTransaction, site: string, most: number): Promise<number> {
    const next = await this.#nextInTime(tx, site, Math.min(most, rowsAtOnce));
    if (next.length === 0) return 0;
    const { lastSeq, lastChain } = await this.lane(tx, site);
    const numbered = next.map(({ kind, body }, index) => ({
      seq: lastSeq + 1 + index,
      kind,
      body,
    }));
    const sealed = chained(lastChain, numbered);
    await tx.db
      .insertInto('orders')
      .values(
        sealed.map((order, index) => ({
          ...{ site_id: site, ...order },
          created_at: next[index]?.created_at ?? this.#now(),
        })),
      )
      .execute();
    await removeWaiting(tx.db, site, next);
    await tx.db
      .updateTable('order_lanes')
      .set({ last_seq: lastSeq + next.length, last_chain: sealed.at(-1)?.chain ?? lastChain })
      .where('site_id', '=', site)
      .execute();
    return next.length;
  }

  /** What goes next; commands that ran out are ended instead. */
  async #nextInTime(tx: WriteTransaction, site: string, most: number): Promise<WaitingOrder[]> {
    for (;;) {
      const next = await nextWaiting(tx.db, site, most);
      const expired = this.#endExpired ? next.filter((row) => isExpired(row, this.#now())) : [];
      if (expired.length === 0) return next;
      await this.#endExpired?.(
        tx,
        site,
        expired.map(({ body }) => v.parse(orderBodies.command, JSON.parse(body))),
      );
      await removeWaiting(tx.db, site, expired);
    }
  }

  /** Where the lane stands; made at its first use. */
  async lane(tx: WriteTransaction, site: string): Promise<OrderLane> {
    const found = await readLane(tx.db, site);
    if (found !== undefined) return found;
    const log = newLog();
    await tx.db
      .insertInto('order_lanes')
      .values({
        ...{ site_id: site, log },
        ...{ last_seq: 0, last_chain: '', acknowledged_seq: 0, acknowledged_chain: '' },
        last_waiting: 0,
      })
      .execute();
    const empty = { lastSeq: 0, lastChain: '', acknowledgedSeq: 0, acknowledgedChain: '' };
    return { log, ...empty, lastWaiting: 0 };
  }

  /**
   * Compares what the site says it has committed with the lane, when its gateway connects. Where they do not fit (one of the two was
   * restored or rebuilt) a new log begins with the orders that are still owed, and whoever must resupply does.
   */
  async meet(
    tx: WriteTransaction,
    site: string,
    gateway: { readonly log: string; readonly seq: number; readonly chain: string },
  ): Promise<OrderLane> {
    const lane = await this.lane(tx, site);
    const { seq, chain } = gateway.log === lane.log ? gateway : { seq: 0, chain: '' };
    if (chain === (await chainAt(tx.db, site, lane, seq))) {
      await this.acknowledge(tx, site, { log: lane.log, seq });
      return { ...lane, acknowledgedSeq: seq, acknowledgedChain: chain };
    }
    await this.supplyAnew(tx, site);
    // Whichever end was restored: after what this one has, the site tells what it has.
    await this.append(tx, site, [{ kind: 'resupplied', body: {} }]);
    return this.lane(tx, site);
  }

  /** For a gateway that has nothing, as one in another's place: a new log with what is owed and all that the site must have. */
  async supplyAnew(tx: WriteTransaction, site: string): Promise<void> {
    for (const kind of [...this.#resupplies.keys(), 'resupplied' as const]) {
      await tx.db
        .deleteFrom('orders')
        .where('site_id', '=', site)
        .where('kind', '=', kind)
        .execute();
    }
    await this.#startNewLog(tx, site, await this.lane(tx, site));
    await this.resupply(tx, site);
  }

  /** For a site that lost what it had, in the log that it has met. */
  async resupply(tx: WriteTransaction, site: string): Promise<void> {
    for (const [kind, resupply] of this.#resupplies) {
      await tx.db
        .deleteFrom('waiting_orders')
        .where('site_id', '=', site)
        .where('kind', '=', kind)
        .execute();
      await resupply(tx, site);
    }
  }

  /** The site has committed everything up to `seq`: those orders are done with. Anything else than the lane's log is ignored. */
  async acknowledge(
    tx: WriteTransaction,
    site: string,
    { log, seq }: { readonly log: string; readonly seq: number },
  ): Promise<void> {
    const lane = await this.lane(tx, site);
    if (log !== lane.log || seq <= lane.acknowledgedSeq) return;
    const chain = await chainAt(tx.db, site, lane, seq);
    if (chain === undefined) return;
    await tx.db.deleteFrom('orders').where('site_id', '=', site).where('seq', '<=', seq).execute();
    await tx.db
      .updateTable('order_lanes')
      .set({ acknowledged_seq: seq, acknowledged_chain: chain })
      .where('site_id', '=', site)
      .execute();
  }

  async #startNewLog(tx: WriteTransaction, site: string, lane: OrderLane): Promise<void> {
    const owed = await tx.db
      .selectFrom('orders')
      .select(['seq', 'kind', 'body'])
      .where('site_id', '=', site)
      .orderBy('seq')
      .execute();
    const numbered = chained(
      '',
      owed.map(({ kind, body }, index) => ({ seq: index + 1, kind, body })),
    );
    // The new number is never above the old one, so in this order no two rows ever have the same.
    for (const [index, { seq, chain }] of numbered.entries()) {
      await tx.db
        .updateTable('orders')
        .set({ seq, chain })
        .where('site_id', '=', site)
        .where('seq', '=', owed[index]?.seq ?? 0)
        .execute();
    }
    await tx.db
      .updateTable('order_lanes')
      .set({
        ...{ log: newLog(), acknowledged_seq: 0, acknowledged_chain: '' },
        ...{ last_seq: owed.length, last_chain: numbered.at(-1)?.chain ?? '' },
      })
      .where('site_id', '=', site)
      .where('log', '=', lane.log)
      .execute();
  }
}

/** Orders after `seq`, in order: at least one where there are any, then as many as fit into `maxBytes`. */
export const readOrders = async (
  db: Kysely<Schema>,
  site: string,
  { after, maxBytes }: { readonly after: number; readonly maxBytes: number },
): Promise<StoredOrder[]> => {
  const rows = await db
    .selectFrom('orders')
    .select(['seq', 'kind', 'body', 'chain'])
    .where('site_id', '=', site)
    .where('seq', '>', after)
    .orderBy('seq')
    .limit(ordersAtOnce)
    .execute();
  let bytes = 0;
  const fitting = rows.findIndex((row) => {
    bytes += Buffer.byteLength(row.body);
    return bytes > maxBytes;
  });
  return fitting < 0 ? rows : rows.slice(0, Math.max(1, fitting));
};

export const readLane = async (
  db: Kysely<Schema>,
  site: string,
): Promise<OrderLane | undefined> => {
  const row = await db
    .selectFrom('order_lanes')
    .selectAll()
    .where('site_id', '=', site)
    .executeTakeFirst();
  return (
    row && {
      log: row.log,
      ...{ lastSeq: row.last_seq, lastChain: row.last_chain },
      ...{ acknowledgedSeq: row.acknowledged_seq, acknowledgedChain: row.acknowledged_chain },
      lastWaiting: row.last_waiting,
    }
  );
};

const isExpired = ({ kind, body }: WaitingOrder, now: number): boolean =>
  kind === 'command' && v.parse(orderBodies.command, JSON.parse(body)).expires_at <= now;

/** Undefined for a number before what is acknowledged, or above the last. */
const chainAt = async (
  db: Kysely<Schema>,
  site: string,
  lane: OrderLane,
  seq: number,
): Promise<string | undefined> => {
  if (seq === lane.acknowledgedSeq) return lane.acknowledgedChain;
  const row = await db
    .selectFrom('orders')
    .select('chain')
    .where('site_id', '=', site)
    .where('seq', '=', seq)
    .executeTakeFirst();
  return row?.chain;
};

const chained = (
  previous: string,
  orders: readonly Omit<StoredOrder, 'chain'>[],
): StoredOrder[] => {
  let chain: Uint8Array = Buffer.from(previous, 'hex');
  return orders.map((order) => {
    chain = chainAfter(chain, 'orders', [order]);
    return { ...order, chain: Buffer.from(chain).toString('hex') };
  });
};

/** Both engines bound the parameters of a statement. */
const rowsAtOnce = 500;
const ordersAtOnce = 500;

const newLog = (): string => randomBytes(16).toString('hex');
