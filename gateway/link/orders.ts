/**
 * The lane of orders, this end of it: each is carried out once, in order, its effect and the position committed together. The hash
 * chain of what was carried out is told at each meeting, so that a control plane that was restored gives no number out twice unseen.
 *
 * An order that cannot be carried out takes its position too and is told in the journal: one bad order must not hold up the next. One
 * that fails for a reason that passes (a full disk) is tried again until it is stored or the connection ends.
 */
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { orderBatch, orderBodies } from '@holdfast/protos/link/orders';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { chainAfter, chainStart } from '@holdfast/protos/semantics/journal-chain';
import type { Statement, Write } from '@holdfast/provisioning/storage/write';
import { backoff } from '@holdfast/provisioning/time/backoff';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { type Wait, wait } from '@holdfast/provisioning/time/wait';
import * as v from 'valibot';
import type { SiteStore } from '../store/site-store.js';
import type { AuditEntry } from './audit-entry.js';

export type OrderKind = keyof typeof orderBodies;
export type OrderBody<K extends OrderKind> = v.InferOutput<(typeof orderBodies)[K]>;

/**
 * Carries an order out: hands what it changes to `commit`, once, and does in memory what follows after that has resolved. It may
 * hold a lock of its own meanwhile. `commit` rejects as the commit queue does; after STORE_CONFLICT the handler is called again, to
 * decide on what is there now. Throws a HoldfastError for an order that is wrong.
 */
export type OrderHandler<K extends OrderKind> = (
  body: OrderBody<K>,
  commit: (write: Write) => Promise<void>,
) => Promise<void>;

export interface OrdersDeps {
  readonly store: SiteStore;
  readonly clock: Clock;
  readonly site: string;
  /** The payload of a batch's JWS, once signature and certificate are found good; throws a HoldfastError. */
  readonly verify: (jws: string) => Promise<unknown>;
  readonly entry: AuditEntry;
  readonly wait?: Wait;
}

export interface OrdersPosition {
  /** The control plane's log; empty before the first order ever. */
  readonly log: string;
  readonly seq: number;
  /** The hash chain at `seq`. */
  readonly chain: Uint8Array;
}

export type OrdersOutcome =
  | { readonly kind: 'committed'; readonly position: OrdersPosition }
  /** Orders are missing before this batch: the control plane sends from our position again when it is met anew. */
  | { readonly kind: 'gap'; readonly position: OrdersPosition };

/** What every order of a batch has, whatever its kind: a newer control plane may know kinds that we do not. */
const batchPayload = v.object({
  site: v.string(),
  log: v.pipe(v.string(), v.minLength(1), v.maxLength(128)),
  first_seq: orderBatch.entries.first_seq,
  previous_chain: orderBatch.entries.previous_chain,
  orders: v.pipe(
    v.array(v.object({ seq: v.number(), kind: v.string(), body: v.unknown() })),
    v.minLength(1),
  ),
});
type AnyOrder = v.InferOutput<typeof batchPayload>['orders'][number];

/** How often an order is decided anew when what it was decided on changed meanwhile. */
const maxConflicts = 20;

export class Orders {
  readonly #deps: OrdersDeps;
  readonly #wait: Wait;
  readonly #handlers = new Map<
    string,
    (body: unknown, commit: (write: Write) => Promise<void>) => Promise<void>
  >();
  #position: OrdersPosition;

  /** Use `openOrders`. */
  constructor(deps: OrdersDeps, position: OrdersPosition) {
    this.#deps = deps;
    this.#wait = deps.wait ?? wait;
    this.#position = position;
  }

  /** The last order that is committed here. */
  get position(): OrdersPosition {
    return this.#position;
  }

  /** Registers the one that carries out orders of a kind; before the link is opened. */
  handle<K extends OrderKind>(kind: K, handler: OrderHandler<K>): void {
    if (this.#handlers.has(kind))
      throw new HoldfastError('INTERNAL', `${kind} orders have a handler`);
    const schema: v.GenericSchema<unknown, OrderBody<K>> = orderBodies[kind] as never;
    this.#handlers.set(kind, async (body, commit) => {
      const parsed = v.safeParse(schema, body);
      if (!parsed.success) {
        throw new HoldfastError(
          'REQUEST_INVALID',
          `not a ${kind} order: ${v.summarize(parsed.issues)}`,
        );
      }
      await handler(parsed.output, commit);
    });
  }

  /** Kinds of orders that nobody has offered to carry out. */
  get unhandled(): OrderKind[] {
    return (Object.keys(orderBodies) as OrderKind[]).filter((kind) => !this.#handlers.has(kind));
  }

  /**
   * Carries out a batch; call it for one batch after the other. Rejects when the batch is not genuine (nothing of it is done), and
   * with the signal's reason.
   */
  async receive(
    batch: { readonly log: string; readonly jws: string },
    signal: AbortSignal,
  ): Promise<OrdersOutcome> {
    const parsed = v.safeParse(batchPayload, await this.#deps.verify(batch.jws));
    if (!parsed.success || parsed.output.log !== batch.log || !isNumbered(parsed.output)) {
      throw new HoldfastError('ORDERS_REFUSED', 'not a batch of orders');
    }
    const { site, log, orders, first_seq, previous_chain } = parsed.output;
    if (site !== this.#deps.site) {
      throw new HoldfastError('ORDERS_REFUSED', `the orders are for the site ${site}`);
    }
    let position = await this.#positionIn(log);
    if (first_seq > position.seq + 1) return { kind: 'gap', position };
    let chain: Uint8Array = Buffer.from(previous_chain, 'hex');
    requireContinuing(position, first_seq - 1, chain);
    for (const order of orders) {
      chain = chainAfter(chain, 'orders', [{ ...order, body: canonicalJson(order.body) }]);
      requireContinuing(position, order.seq, chain);
      if (order.seq <= position.seq) continue;
      const moved = { log, seq: order.seq, chain };
      await this.#carryOut(position, moved, order, signal);
      position = moved;
      this.#position = moved;
    }
    // Also for a log in which nothing was new: the one that is spoken of now is the one to name at the next meeting.
    this.#position = position;
    return { kind: 'committed', position: this.#position };
  }

  /** A log of the past keeps its position, so that its batches, whoever carries them here again, do nothing twice. */
  async #positionIn(log: string): Promise<OrdersPosition> {
    if (log === this.#position.log) return this.#position;
    const sql = 'SELECT log, seq, chain FROM order_positions WHERE log = ?';
    const row = await this.#deps.store.read.get<OrdersPosition>(sql, [log]);
    return row ?? { log, seq: 0, chain: chainStart };
  }

  async #carryOut(
    before: OrdersPosition,
    after: OrdersPosition,
    order: AnyOrder,
    signal: AbortSignal,
  ): Promise<void> {
    const moved = this.#moved(before, after);
    const delays = backoff({ firstMs: 100, mostMs: 5000 });
    for (let conflicts = 0; ; ) {
      signal.throwIfAborted();
      const failure = await this.#attempt(order, moved);
      if (failure === 'done') return;
      if (isHoldfastError(failure, 'STORE_CONFLICT')) {
        conflicts += 1;
        if (conflicts < maxConflicts) continue;
      } else if (isHoldfastError(failure) && failure.isRetryable) {
        await this.#wait(delays.next().value ?? 5000, signal);
        continue;
      }
      await this.#fail(after.log, order, failure, moved, signal);
      return;
    }
  }

  /** Runs the handler; 'done' once its write and the position are on disk, else what was thrown. */
  async #attempt(order: AnyOrder, moved: Statement): Promise<unknown> {
    let isCommitted = false;
    const commit = async (write: Write): Promise<void> => {
      if (isCommitted) throw new HoldfastError('INTERNAL', 'an order is committed once');
      await this.#deps.store.commit([...write, moved]);
      isCommitted = true;
    };
    try {
      const handler = this.#handlers.get(order.kind);
      if (!handler)
        throw new HoldfastError('REQUEST_INVALID', `no orders of kind ${order.kind} here`);
      await handler(order.body, commit);
      if (!isCommitted) await commit([]);
      return 'done';
    } catch (error) {
      // What a handler does after its commit is no longer the order's concern.
      return isCommitted ? 'done' : error;
    }
  }

  async #fail(
    log: string,
    order: AnyOrder,
    failure: unknown,
    moved: Statement,
    signal: AbortSignal,
  ): Promise<void> {
    const entry = this.#deps.entry('order_failed', {
      log,
      seq: order.seq,
      kind: order.kind.slice(0, 64),
      code: isHoldfastError(failure) ? failure.code : 'INTERNAL',
      message: messageOf(failure).slice(0, 500),
    });
    const delays = backoff({ firstMs: 100, mostMs: 5000 });
    for (;;) {
      try {
        return await this.#deps.store.commit([entry, moved]);
      } catch (error) {
        if (!isHoldfastError(error) || !error.isRetryable) throw error;
        await this.#wait(delays.next().value ?? 5000, signal);
      }
    }
  }

  /** Guarded: were the same order ever carried out twice at once, the second write would fail as a whole. */
  #moved(before: OrdersPosition, { log, seq, chain }: OrdersPosition): Statement {
    const now = this.#deps.clock.now();
    if (before.seq === 0) {
      return {
        sql: 'INSERT INTO order_positions (log, seq, chain, at) VALUES (?, ?, ?, ?)',
        params: [log, seq, chain, now],
        expectChanges: 1,
      };
    }
    return {
      sql: 'UPDATE order_positions SET seq = ?, chain = ?, at = ? WHERE log = ? AND seq = ?',
      params: [seq, chain, now, log, before.seq],
      expectChanges: 1,
    };
  }
}

/** Takes up the position where it is on disk. */
export const openOrders = async (deps: OrdersDeps): Promise<Orders> => {
  // The log met last, not the one written to last: wall time may have run back.
  const sql = 'SELECT log, seq, chain FROM order_positions ORDER BY turn DESC LIMIT 1';
  const row = await deps.store.read.get<OrdersPosition>(sql);
  return new Orders(deps, row ?? { log: '', seq: 0, chain: chainStart });
};

/** The batch has other orders under numbers that are carried out here: the next meeting finds out, and begins a new log. */
const requireContinuing = (position: OrdersPosition, seq: number, chain: Uint8Array): void => {
  if (seq !== position.seq || Buffer.compare(chain, position.chain) === 0) return;
  throw new HoldfastError('ORDERS_REFUSED', `other orders were carried out here up to ${seq}`);
};

const isNumbered = (batch: v.InferOutput<typeof batchPayload>): boolean =>
  batch.orders.every((order, index) => order.seq === batch.first_seq + index);
