/** What goes down a connection: the plan's head when it is newer than what the site has, its documents on request, and the orders. */
import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { OrderBatchPayload } from '@holdfast/protos/link/orders';
import { type Coalesced, coalesced } from '../bus/coalesced.js';
import type { Signals } from '../bus/signals.js';
import type { SqlEngine } from '../store/sql-engine.js';
import { type OrderLane, type Orders, readOrders } from './orders.js';
import type { LinkStream } from './stream.js';
import { isWaiting } from './waiting-orders.js';

export interface DownLanesDependencies {
  readonly engine: SqlEngine;
  readonly signals: Signals;
  readonly orders: Orders;
  /** Makes the JWS of a batch. */
  readonly signOrders: (batch: OrderBatchPayload) => Promise<string>;
  readonly log: { error(data: object, message: string): void };
}

export interface DownLanesOptions {
  readonly site: string;
  /** Bytes of orders that may be under way without having been acknowledged. */
  readonly windowBytes: number;
  /** The plan that the site has. */
  readonly plan: { readonly generation: number; readonly revision: number };
  /** Where the orders go on. */
  readonly orders: OrderLane;
}

const deflate = promisify(deflateRaw);
/** Documents that may be asked for and not yet sent. */
const mostWanted = 20_000;
/** Bytes of documents in one message, unless one alone is larger. */
const documentsMessageBytes = 512 * 1024;
const orderBatchBytes = 256 * 1024;
const leastWindowBytes = 4 * 1024;
/** Orders that may be under way: a site stores each by itself, so these are what a command may have to wait for. */
const mostUnderWay = 64;

export class DownLanes {
  readonly #deps: DownLanesDependencies;
  readonly #stream: LinkStream;
  readonly #site: string;
  readonly #windowBytes: number;
  readonly #work: readonly Coalesced[];
  readonly #sendOrders: Coalesced;
  readonly #sendDocuments: Coalesced;
  readonly #sendPlan: Coalesced;
  readonly #stopListening: (() => void)[] = [];
  readonly #wanted: string[] = [];
  readonly #underWay: {
    readonly lastSeq: number;
    readonly bytes: number;
    readonly count: number;
  }[] = [];
  #plan: { readonly generation: number; readonly revision: number };
  #isPlanSent = false;
  #log: string;
  #sentSeq: number;
  /** The hash chain there, hexadecimal. */
  #sentChain: string;

  constructor(deps: DownLanesDependencies, stream: LinkStream, options: DownLanesOptions) {
    this.#deps = deps;
    this.#stream = stream;
    this.#site = options.site;
    this.#windowBytes = Math.max(leastWindowBytes, options.windowBytes);
    this.#plan = options.plan;
    this.#log = options.orders.log;
    this.#sentSeq = options.orders.acknowledgedSeq;
    this.#sentChain = options.orders.acknowledgedChain;
    const onError = (error: unknown) => this.#failed(error);
    this.#sendPlan = coalesced(() => this.#plans(), onError);
    this.#sendDocuments = coalesced(() => this.#documents(), onError);
    this.#sendOrders = coalesced(() => this.#orders(), onError);
    this.#work = [this.#sendPlan, this.#sendDocuments, this.#sendOrders];
  }

  open(): void {
    const { signals } = this.#deps;
    this.#stopListening.push(
      signals.subscribe(`plan:${this.#site}`, () => this.#sendPlan.wake()),
      signals.subscribe(`orders:${this.#site}`, () => this.#sendOrders.wake()),
    );
    this.#sendPlan.wake();
    this.#sendOrders.wake();
  }

  /** Sends nothing more. Idempotent. */
  async close(): Promise<void> {
    for (const stop of this.#stopListening.splice(0)) stop();
    await Promise.all(this.#work.map((work) => work.close()));
  }

  /** Errors: REQUEST_INVALID when more is asked for than a plan can have. */
  sendDocuments(sha256: readonly Uint8Array[]): void {
    if (this.#wanted.length + sha256.length > mostWanted) {
      throw new HoldfastError('REQUEST_INVALID', 'more documents are asked for than may wait');
    }
    this.#wanted.push(...sha256.map((hash) => Buffer.from(hash).toString('hex')));
    this.#sendDocuments.wake();
  }

  ordersCommitted(log: string, seq: number): void {
    if (log !== this.#log) return;
    const { engine, orders } = this.#deps;
    for (
      let head = this.#underWay[0];
      head !== undefined && head.lastSeq <= seq;
      head = this.#underWay[0]
    ) {
      this.#underWay.shift();
    }
    engine
      .write((tx) => orders.acknowledge(tx, this.#site, { log, seq }))
      .then(() => this.#sendOrders.wake())
      .catch((error: unknown) => this.#failed(error));
  }

  async #plans(): Promise<void> {
    const row = await this.#deps.engine.read
      .selectFrom('plans')
      .select(['generation', 'revision', 'head'])
      .where('site_id', '=', this.#site)
      .executeTakeFirst();
    if (row === undefined || row.head === null) return;
    const { generation, revision } = row;
    // At the beginning one of the same number is sent too: only the site can tell whether it is the same plan. One that is behind
    // what the site has is not: its generation is being raised.
    const order = generation - this.#plan.generation || revision - this.#plan.revision;
    if (order < 0 || (order === 0 && this.#isPlanSent)) return;
    this.#isPlanSent = true;
    await this.#stream.send({ $case: 'planHead', value: { jws: row.head } });
    this.#plan = { generation, revision };
  }

  async #documents(): Promise<void> {
    while (this.#wanted.length > 0) {
      const hashes = this.#wanted.splice(0, 100);
      const rows = await this.#deps.engine.read
        .selectFrom('plan_documents')
        .select(['sha256', 'content'])
        .where('site_id', '=', this.#site)
        .where('sha256', 'in', hashes)
        .execute();
      // What is no longer live is not sent: the head that replaced it is on its way.
      let documents: { sha256: Buffer; content: Buffer }[] = [];
      let bytes = 0;
      for (const row of rows) {
        const content = await deflate(row.content);
        if (bytes > 0 && bytes + content.length > documentsMessageBytes) {
          await this.#stream.send({ $case: 'documents', value: { documents } });
          documents = [];
          bytes = 0;
        }
        documents.push({ sha256: Buffer.from(row.sha256, 'hex'), content });
        bytes += content.length;
      }
      if (documents.length > 0)
        await this.#stream.send({ $case: 'documents', value: { documents } });
    }
  }

  async #orders(): Promise<void> {
    for (;;) {
      const room = this.#windowBytes - this.#underWay.reduce((sum, { bytes }) => sum + bytes, 0);
      if (room <= 0) return;
      const orders = await readOrders(this.#deps.engine.read, this.#site, {
        after: this.#sentSeq,
        maxBytes: Math.min(room, orderBatchBytes),
      });
      const first = orders[0];
      const last = orders.at(-1);
      if (first === undefined || last === undefined) {
        if (await this.#sealed()) continue;
        return;
      }
      const jws = await this.#deps.signOrders({
        site: this.#site,
        log: this.#log,
        first_seq: first.seq,
        previous_chain: this.#sentChain,
        // Stored as it was typed by `NewOrder`, by us.
        orders: orders.map(({ seq, kind, body }) => ({
          seq,
          kind,
          body: JSON.parse(body),
        })) as OrderBatchPayload['orders'],
      });
      if (jws.length > room && this.#underWay.length > 0) return;
      this.#underWay.push({ lastSeq: last.seq, bytes: jws.length, count: orders.length });
      this.#sentSeq = last.seq;
      this.#sentChain = last.chain;
      await this.#stream.send({
        $case: 'orders',
        value: { log: this.#log, firstSeq: BigInt(first.seq), lastSeq: BigInt(last.seq), jws },
      });
    }
  }

  /** Gives the next orders their numbers, if there are any and not too many are under way: a command that comes now goes after those. */
  async #sealed(): Promise<boolean> {
    const { engine, orders } = this.#deps;
    const most = mostUnderWay - this.#underWay.reduce((sum, { count }) => sum + count, 0);
    if (most <= 0 || !(await isWaiting(engine.read, this.#site))) return false;
    return (await engine.write((tx) => orders.seal(tx, this.#site, most))) > 0;
  }

  #failed(error: unknown): void {
    if (this.#stream.ended.aborted) return;
    this.#deps.log.error({ site: this.#site, error: messageOf(error) }, 'the link down failed');
    this.#stream.fail(new HoldfastError('CONNECTION_FAILED', messageOf(error), { cause: error }));
  }
}
