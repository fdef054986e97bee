/**
 * A control plane for tests of the link: it speaks the whole protocol over real gRPC and keeps what it was told in memory, checked as
 * the real one checks it. A test tells it what to refuse, hold back or forget.
 */
import { createHash } from 'node:crypto';
import { EventEmitter, on } from 'node:events';
import { deflateRawSync } from 'node:zlib';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import {
  type CloudMessage,
  type GatewayHello,
  type GatewayMessage,
  type JournalBatch,
  LinkService,
} from '@holdfast/protos/gen/holdfast/v1/link';
import { continues, unpackEntries } from '@holdfast/protos/link/journal-batch';
import type { JournalEntry, LaneName } from '@holdfast/protos/link/journal-entries';
import type { PlanDocument, PlanHead } from '@holdfast/protos/link/plan-documents';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { chainAfter, chainStart } from '@holdfast/protos/semantics/journal-chain';
import {
  referenceTo,
  signPlanHead,
  writePlanDocument,
} from '@holdfast/provisioning/documents/plan';
import { type DocumentSigner, signDocument } from '@holdfast/provisioning/documents/signature';
import { signTime } from '@holdfast/provisioning/documents/time';
import type { TestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { laneNameOf, wireLaneOf } from './journal-sender.js';
import type { Position } from './lane.js';

type Stream = ServerDuplexStream<GatewayMessage, CloudMessage>;
type Say = NonNullable<CloudMessage['message']>;

export interface TestOrder {
  readonly kind: string;
  readonly body: unknown;
}

export interface TestCloudOptions {
  readonly windowBytes?: number;
  readonly keepaliveMs?: number;
}

interface Log extends Position {
  readonly entries: JournalEntry[];
}

export class TestCloud {
  readonly #fleet: TestFleet;
  readonly #signer: DocumentSigner;
  readonly #server: Server;
  readonly #changes = new EventEmitter();
  readonly #options: Required<TestCloudOptions>;
  readonly #documents = new Map<string, Buffer>();
  #stream: Stream | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #pongs = 0;
  #heard = 0;
  port = 0;
  /** What was taken in, by lane and log. */
  readonly logs = new Map<string, Log>();
  readonly orders: TestOrder[] = [];
  ordersLog = 'orders-1';
  ordersCommitted = 0;
  plan: { jws: string; head: PlanHead } | undefined;
  hellos: GatewayHello[] = [];
  planAnswers: { generation: number; revision: number; refusedCode: string }[] = [];
  documentsAsked = 0;
  timeAsked = 0;
  /** What it says when it is asked for the time; nothing while it is undefined. */
  time: (() => number) | undefined;
  /** Answers every hello with this, while it is set. */
  refusal: { code: string; message: string } | undefined;
  /** Takes batches in but says nothing of it. */
  isHolding = false;
  isAnsweringPings = true;
  /** How often the gateway has asked whether the line is alive. */
  pings = 0;
  /** What the connection before sent is committed only after the welcome, of which the window is this small. */
  lateWindowBytes: number | undefined;
  /** Bytes received of which nothing was said yet, and the most there ever were. */
  unsaid = 0;
  mostUnsaid = 0;
  /** Lanes in the order in which their batches came. */
  readonly order: LaneName[] = [];
  readonly #held: (() => void)[] = [];

  private constructor(fleet: TestFleet, signer: DocumentSigner, options: TestCloudOptions) {
    this.#fleet = fleet;
    this.#signer = signer;
    this.#options = { windowBytes: 1024 * 1024, keepaliveMs: 30_000, ...options };
    this.#server = new Server({ 'grpc.max_receive_message_length': 16 * 1024 * 1024 });
    this.#changes.setMaxListeners(100);
  }

  static async open(fleet: TestFleet, options: TestCloudOptions = {}): Promise<TestCloud> {
    const cloud = new TestCloud(fleet, await fleet.planSigner(), options);
    const { tls } = await fleet.controlPlane();
    const root = Buffer.from(fleet.root.certificate.pem);
    const pair = { cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) };
    cloud.#server.addService(LinkService, { connect: (stream: Stream) => cloud.#take(stream) });
    cloud.port = await new Promise((resolve, reject) => {
      const credentials = ServerCredentials.createSsl(root, [pair], true);
      cloud.#server.bindAsync('127.0.0.1:0', credentials, (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
    return cloud;
  }

  /** Waits until something holds; the test's own timeout ends what never will. */
  async until(holds: () => boolean): Promise<void> {
    if (holds()) return;
    for await (const _ of on(this.#changes, 'change')) if (holds()) return;
  }

  /** Waits until the gateway has said so many things more. */
  async messages(count: number): Promise<void> {
    const wanted = this.#heard + count;
    await this.until(() => this.#heard >= wanted);
  }

  /** Every entry that was taken in of a lane, in whatever log. */
  entries(lane: LaneName): JournalEntry[] {
    return [...this.logs].flatMap(([key, { entries }]) =>
      key.startsWith(`${lane}/`) ? entries : [],
    );
  }

  /** Makes a plan of these documents the current one, and sends its head. */
  async publish(documents: readonly PlanDocument[], head: Partial<PlanHead> = {}): Promise<void> {
    for (const document of documents) {
      const bytes = writePlanDocument(document);
      this.#documents.set(createHash('sha256').update(bytes).digest('hex'), bytes);
    }
    const before = this.plan?.head;
    const full: PlanHead = {
      fleet: this.#fleet.fleet,
      site: this.#fleet.site,
      generation: 1,
      epoch: 1,
      revision: (before?.revision ?? 0) + 1,
      issued_at: this.#fleet.now,
      expires_at: this.#fleet.now + 86_400_000,
      grace: 3_600_000,
      documents: documents.map(referenceTo),
      ...head,
    };
    this.plan = { head: full, jws: await signPlanHead(this.#signer, full) };
    this.#say({ $case: 'planHead', value: { jws: this.plan.jws } });
  }

  /** Adds orders to the lane and sends them. */
  async give(...orders: TestOrder[]): Promise<void> {
    const first = this.orders.length + 1;
    this.orders.push(...orders);
    await this.sendOrders(first);
  }

  chainOfOrders(seq: number): Uint8Array {
    const before = this.orders.slice(0, seq);
    const chained = before.map(({ kind, body }, index) => ({
      seq: index + 1,
      kind,
      body: canonicalJson(body),
    }));
    return chainAfter(chainStart, 'orders', chained);
  }

  async sendOrders(first: number, site = this.#fleet.site): Promise<void> {
    if (first > this.orders.length) return;
    const log = this.ordersLog;
    const orders = this.orders
      .slice(first - 1)
      .map((order, index) => ({ seq: first + index, ...order }));
    const jws = await signDocument(this.#signer, 'holdfast-orders', {
      site,
      log,
      first_seq: first,
      previous_chain: Buffer.from(this.chainOfOrders(first - 1)).toString('hex'),
      orders,
    });
    const lastSeq = BigInt(this.orders.length);
    this.#say({ $case: 'orders', value: { log, firstSeq: BigInt(first), lastSeq, jws } });
  }

  /** Gives the logs of a lane up. */
  giveUp(lane: LaneName, log: string): void {
    this.#say({
      $case: 'laneReset',
      value: { lane: wireLaneOf(lane), log, reason: 'for the test' },
    });
  }

  refuse(code: string): void {
    this.#say({ $case: 'refused', value: { code, message: 'for the test' } });
  }

  /** Resolves when the gateway has heard everything that was said so far. */
  async answered(): Promise<void> {
    const pongs = this.#pongs;
    this.#say({ $case: 'ping', value: { id: BigInt(pongs) } });
    await this.until(() => this.#pongs > pongs);
  }

  /** Says what was held back. */
  release(): void {
    this.isHolding = false;
    for (const say of this.#held.splice(0)) say();
  }

  async close(): Promise<void> {
    this.#stream?.end();
    this.#server.forceShutdown();
    await this.#turn;
  }

  #say(message: Say): void {
    this.#stream?.write({ message });
  }

  #changed(): void {
    this.#changes.emit('change');
  }

  #take(stream: Stream): void {
    this.#stream = stream;
    stream.on('error', () => undefined);
    stream.on('end', () => stream.end());
    stream.on('data', ({ message }: GatewayMessage) => {
      this.#turn = this.#turn
        .then(() => this.#hear(stream, message))
        .catch((error) => {
          // A batch that is not what it should be ends the connection, as in the real one.
          stream.destroy(error);
        });
    });
  }

  async #hear(stream: Stream, message: GatewayMessage['message']): Promise<void> {
    switch (message?.$case) {
      case 'hello':
        await this.#welcome(message.value);
        break;
      case 'journal':
        await this.#ingest(stream, message.value);
        break;
      case 'ordersCommitted':
        if (message.value.log === this.ordersLog) this.ordersCommitted = Number(message.value.seq);
        break;
      case 'documentsWanted': {
        this.documentsAsked += message.value.sha256.length;
        const documents = message.value.sha256.map((sha256) => ({
          sha256,
          content: deflateRawSync(this.#documents.get(sha256.toString('hex')) ?? Buffer.alloc(0)),
        }));
        this.#say({ $case: 'documents', value: { documents } });
        break;
      }
      case 'planApplied': {
        const { generation, revision, refusedCode } = message.value;
        const answer = { generation: Number(generation), revision: Number(revision), refusedCode };
        this.planAnswers.push(answer);
        break;
      }
      case 'timeAsked':
        await this.#tellTime(Buffer.from(message.value.nonce).toString('hex'));
        break;
      case 'pong':
        this.#pongs += 1;
        break;
      case 'ping':
        this.pings += 1;
        if (this.isAnsweringPings) this.#say({ $case: 'pong', value: message.value });
        break;
    }
    this.#heard += 1;
    this.#changed();
  }

  async #tellTime(nonce: string): Promise<void> {
    this.timeAsked += 1;
    if (this.time === undefined) return;
    const { site } = this.#fleet;
    const jws = await signTime(this.#signer, { site, nonce, time: this.time() });
    this.#say({ $case: 'signedTime', value: { jws } });
  }

  async #welcome(hello: GatewayHello): Promise<void> {
    this.hellos.push(hello);
    this.unsaid = 0;
    this.#held.length = 0;
    const journal = hello.journal.map(({ lane, log }) => {
      const { seq, chain } =
        this.lateWindowBytes === undefined
          ? this.#log(laneNameOf(lane) ?? 'audit', log)
          : { seq: 0, chain: chainStart };
      return { lane, log, seq: BigInt(seq), chain: Buffer.from(chain) };
    });
    if (this.refusal) {
      this.#say({ $case: 'refused', value: this.refusal });
      if (this.refusal.code !== 'GATEWAY_FENCED') this.#stream?.end();
      else
        for (const position of journal)
          this.#say({ $case: 'journalCommitted', value: { position } });
      return;
    }
    const { keepaliveMs } = this.#options;
    const windowBytes = this.lateWindowBytes ?? this.#options.windowBytes;
    this.#say({
      $case: 'welcome',
      value: { journal, windowBytes, keepaliveMs, serverTime: new Date() },
    });
    const { plan } = this;
    if (plan && plan.head.revision > Number(hello.planRevision)) {
      this.#say({ $case: 'planHead', value: { jws: plan.jws } });
    }
    const seq = Number(hello.ordersSeq);
    const isOurs = hello.ordersLog === this.ordersLog;
    if (isOurs && Buffer.compare(hello.ordersChain, this.chainOfOrders(seq)) !== 0) {
      this.ordersLog = `${this.ordersLog}, anew`;
      this.ordersCommitted = 0;
    }
    const known = hello.ordersLog === this.ordersLog ? seq : 0;
    // Its acknowledgement may have been lost with the connection before: the hello says the same.
    this.ordersCommitted = Math.max(this.ordersCommitted, known);
    await this.sendOrders(known + 1);
  }

  #log(lane: LaneName, log: string): Log {
    return this.logs.get(`${lane}/${log}`) ?? { seq: 0, chain: chainStart, entries: [] };
  }

  async #ingest(stream: Stream, batch: JournalBatch): Promise<void> {
    const lane = laneNameOf(batch.lane);
    if (!lane) throw new Error('no such lane');
    this.order.push(lane);
    const [firstSeq, lastSeq] = [Number(batch.firstSeq), Number(batch.lastSeq)];
    const stated = { firstSeq, lastSeq, uncompressedBytes: batch.uncompressedBytes };
    const entries = await unpackEntries(batch.entries, stated);
    const chained = entries.map(({ body, ...entry }) => ({ ...entry, body: canonicalJson(body) }));
    const chain = chainAfter(batch.previousChain, lane, chained);
    if (Buffer.compare(chain, batch.chain) !== 0) throw new Error('not the chain of its entries');
    const log = this.#log(lane, batch.log);
    if (this.lateWindowBytes !== undefined && lastSeq < log.seq) {
      const { seq, chain: at } = log;
      const position = {
        lane: batch.lane,
        log: batch.log,
        seq: BigInt(seq),
        chain: Buffer.from(at),
      };
      stream.write({ message: { $case: 'journalCommitted', value: { position } } });
      return;
    }
    if (!continues(log, { firstSeq, previousChain: batch.previousChain })) {
      throw new Error(`${lane} ${firstSeq} does not continue ${log.seq}`);
    }
    for (const entry of entries) log.entries.push(entry);
    this.logs.set(`${lane}/${batch.log}`, { seq: lastSeq, chain, entries: log.entries });
    const bytes = batch.entries.length;
    this.unsaid += bytes;
    this.mostUnsaid = Math.max(this.mostUnsaid, this.unsaid);
    const position = { lane: batch.lane, log: batch.log, seq: batch.lastSeq, chain: batch.chain };
    const say = (): void => {
      this.unsaid -= bytes;
      stream.write({ message: { $case: 'journalCommitted', value: { position } } });
    };
    if (this.isHolding) this.#held.push(say);
    else say();
  }
}
