/** What goes on over one connection: plan and orders are worked on as they come, the journal is told what arrived. */
import type {
  CloudMessage,
  GatewayMessage,
  LanePosition,
} from '@holdfast/protos/gen/holdfast/v1/link';
import { Inbox } from './inbox.js';
import { type Committed, type JournalSender, laneNameOf } from './journal-sender.js';
import type { Orders } from './orders.js';
import type { Plan } from './plan.js';
import { PlanExchange, type PlanMessage } from './plan-exchange.js';
import type { TimeQuestion } from './time-question.js';

type InMessage = NonNullable<CloudMessage['message']>;
type OrderBatch = Extract<InMessage, { $case: 'orders' }>['value'];

export interface MeetingDeps {
  readonly journal: JournalSender;
  readonly plan: Plan;
  readonly orders: Orders;
  readonly time?: Pick<TimeQuestion, 'begin' | 'receive' | 'end'>;
  /** What earlier connections left under way: one plan or order is worked on at a time. */
  readonly before: Promise<unknown>;
}

/** The connection. */
export interface MeetingCall {
  send(message: GatewayMessage['message']): void;
  /** It is of no more use and is to be made anew. */
  fail(error: unknown): void;
}

export interface MeetingOptions {
  /** Bytes of orders that the control plane may have under way. */
  readonly ordersBytes: number;
}

/** Heads and documents that may wait; what is asked for is bounded by the plan. */
const maxPlanBytes = 96 * 1024 * 1024;
/** The largest message: a batch that alone is larger than the window is taken too. */
const maxMessageBytes = 16 * 1024 * 1024;
/** Journal that may be under way to a control plane that refused us, and so did not say. */
const handOverWindowBytes = 256 * 1024;

export class Meeting {
  readonly #deps: MeetingDeps;
  readonly #call: MeetingCall;
  readonly #plan: Inbox<PlanMessage>;
  readonly #orders: Inbox<OrderBatch>;

  constructor(deps: MeetingDeps, call: MeetingCall, { ordersBytes }: MeetingOptions) {
    this.#deps = deps;
    this.#call = call;
    const exchange = new PlanExchange(deps.plan, (message) => call.send(message));
    const onFailed = (error: unknown): void => call.fail(error);
    this.#plan = new Inbox<PlanMessage>({
      maxBytes: maxPlanBytes,
      work: async (message, signal) => {
        await deps.before;
        signal.throwIfAborted();
        await exchange.receive(message);
      },
      onFailed,
    });
    this.#orders = new Inbox<OrderBatch>({
      maxBytes: ordersBytes + maxMessageBytes,
      work: (batch, signal) => this.#receiveOrders(batch, signal),
      onFailed,
    });
  }

  /** The control plane welcomes us, and says where it stands and how much may be under way. */
  begin(welcome: Extract<InMessage, { $case: 'welcome' }>['value']): void {
    // First: what waits behind a backlog is old when it is answered.
    this.#deps.time?.begin((nonce) => this.#call.send({ $case: 'timeAsked', value: { nonce } }));
    this.#carryJournal(welcome.windowBytes);
    this.#deps.journal.stands(welcome.journal.flatMap(committedOf));
  }

  /**
   * The site has another owner: plan and orders are over. What this gateway saw until then is still worth having; the control plane
   * goes on to say where it stands, lane by lane.
   */
  handOver(isBegun: boolean): void {
    if (!isBegun) this.#carryJournal(handOverWindowBytes);
    this.#plan.close();
    this.#orders.close();
    this.#deps.time?.end();
  }

  deliver(message: InMessage): void {
    const { journal } = this.#deps;
    switch (message.$case) {
      case 'journalCommitted': {
        const { position } = message.value;
        for (const one of position ? committedOf(position) : []) journal.committed(one);
        return;
      }
      case 'laneReset': {
        const { log, reason } = message.value;
        const lane = laneNameOf(message.value.lane);
        if (lane) journal.reset({ lane, log, reason });
        return;
      }
      case 'planHead':
        this.#plan.put({ kind: 'head', ...message.value }, message.value.jws.length);
        return;
      case 'documents': {
        const { documents } = message.value;
        const bytes = documents.reduce((sum, { content }) => sum + content.length, 0);
        this.#plan.put({ kind: 'documents', documents }, bytes);
        return;
      }
      case 'orders':
        this.#orders.put(message.value, message.value.jws.length);
        return;
      case 'signedTime':
        void this.#deps.time?.receive(message.value.jws);
        return;
    }
  }

  /** The connection is over. Resolves when nothing of it is under way any more; the next one may come before. */
  async end(): Promise<void> {
    this.#deps.journal.part();
    this.#deps.time?.end();
    this.#plan.close();
    this.#orders.close();
    await Promise.all([this.#deps.before, this.#plan.idle(), this.#orders.idle()]);
  }

  #carryJournal(windowBytes: number): void {
    this.#deps.journal.meet({
      windowBytes,
      send: (batch) => this.#call.send({ $case: 'journal', value: batch }),
      fail: (reason) => this.#call.fail(new Error(reason)),
    });
  }

  async #receiveOrders(batch: OrderBatch, signal: AbortSignal): Promise<void> {
    await this.#deps.before;
    signal.throwIfAborted();
    const outcome = await this.#deps.orders.receive(batch, signal);
    if (outcome.kind === 'gap') throw new Error('orders are missing');
    const { log, seq } = outcome.position;
    this.#call.send({ $case: 'ordersCommitted', value: { log, seq: BigInt(seq) } });
  }
}

/** None for a lane that this program does not know. */
const committedOf = ({ lane: wireLane, log, seq, chain }: LanePosition): Committed[] => {
  const lane = laneNameOf(wireLane);
  return lane ? [{ lane, log, seq: Number(seq), chain }] : [];
};
