/**
 * The link of a gateway to its control plane: does what the link machine decides, and hands what comes to journal, plan and orders.
 *
 * Nothing on the site waits for it. It connects, is cut, and connects again; where things stand is found out at each meeting.
 */
import { randomBytes } from 'node:crypto';
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { CloudMessage, GatewayMessage } from '@holdfast/protos/gen/holdfast/v1/link';
import type { LaneName } from '@holdfast/protos/link/journal-entries';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { backoff } from '@holdfast/provisioning/time/backoff';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { CallHandlers, Dial, LinkCall } from './dial.js';
import type { FarEnd } from './far-end.js';
import type { Fence } from './fence.js';
import { JournalSender, wireLaneOf } from './journal-sender.js';
import type { Lane } from './lane.js';
import {
  type Heard,
  type LinkEffect,
  type LinkEvent,
  type LinkState,
  next,
} from './link-machine.js';
import type { LinkStatus } from './link-status.js';
import { Meeting } from './meeting.js';
import type { Orders } from './orders.js';
import type { Plan } from './plan.js';
import type { TimeQuestion } from './time-question.js';

export interface LinkDeps {
  /** `audit`, `state`, `telemetry`: in the order in which they are sent. */
  readonly lanes: readonly Lane[];
  readonly plan: Plan;
  readonly orders: Orders;
  readonly fence: Fence;
  readonly dial: Dial;
  readonly time?: TimeQuestion;
  /** Tells when the control plane can be reached again. */
  readonly farEnd?: Pick<FarEnd, 'watch' | 'stop'>;
  /** Told each time the control plane has welcomed us: the WAN is there. */
  readonly onUp?: () => void;
  readonly clock: Clock;
  readonly log: StoreLog;
  /** Uniform in [0, 1), for the times between attempts. */
  readonly entropy?: () => number;
}

export interface LinkOptions {
  /** The program's version, for the control plane to see. */
  readonly version: string;
  readonly welcomeTimeoutMs?: number;
  /** Upper bounds of the first and of every time between two attempts. */
  readonly firstRetryMs?: number;
  readonly mostRetryMs?: number;
  /** Upper bound of the time after a refusal. */
  readonly refusedRetryMs?: number;
  /** Bytes of orders that may be under way to us. */
  readonly windowBytes?: number;
  /** How often the lanes are looked at for new entries that nobody told of. */
  readonly refreshMs?: number;
}

type InMessage = NonNullable<CloudMessage['message']>;
type OutMessage = GatewayMessage['message'];

/** How long telemetry is gathered before it is sent, unless something else is sent anyway. */
const gatherMs = 100;

const defaults = {
  welcomeTimeoutMs: 20_000,
  firstRetryMs: 1_000,
  mostRetryMs: 60_000,
  refusedRetryMs: 300_000,
  windowBytes: 1024 * 1024,
  refreshMs: 1_000,
};

export class Link {
  readonly #deps: LinkDeps;
  readonly #options: Required<LinkOptions>;
  readonly #journal: JournalSender;
  /** This start of the program, to tell a clone from a reconnection. */
  readonly #bootId = randomBytes(16).toString('hex');
  #state: LinkState = { phase: 'stopped' };
  #call: LinkCall | undefined;
  #meeting: Meeting | undefined;
  #over: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #refreshTimer: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> | undefined;
  #gatherTimer: NodeJS.Timeout | undefined;
  #stopListening: (() => void)[] = [];
  #delays: Iterator<number, void> | undefined;
  #since: number | null = null;
  #lastContact: number | null = null;
  #refusal: { code: string; message: string } | null = null;

  constructor(deps: LinkDeps, options: LinkOptions) {
    this.#deps = deps;
    this.#options = { ...defaults, ...options };
    this.#journal = new JournalSender(deps);
  }

  /** Starts to connect, and goes on trying; does not wait for it. Every kind of order must have its handler by now. */
  open(): void {
    const { unhandled } = this.#deps.orders;
    if (unhandled.length > 0) throw new TypeError(`no handler of orders: ${unhandled.join(', ')}`);
    for (const lane of this.#deps.lanes) {
      this.#stopListening.push(lane.onAppended(() => this.#gather(lane.lane)));
    }
    this.#refreshTimer = setInterval(() => this.kick(), this.#options.refreshMs);
    this.#step({ type: 'started', now: this.#now() });
  }

  /** Ends the connection and waits for what is under way on disk. Idempotent. */
  async close(): Promise<void> {
    clearInterval(this.#refreshTimer);
    clearTimeout(this.#gatherTimer);
    for (const stop of this.#stopListening.splice(0)) stop();
    this.#step({ type: 'stopped' });
    clearTimeout(this.#timer);
    this.#deps.farEnd?.stop();
    this.#deps.time?.close();
    await this.#over;
    await this.#journal.idle();
    await this.#refreshing;
  }

  /** Something was committed to the journal: it is sent at once rather than when it is next looked for. */
  kick(): void {
    // One at a time: a look that is under way may have missed what this one is for, and the next turn finds it.
    this.#refreshing ??= this.#journal
      .refresh()
      .catch((error: unknown) => {
        this.#deps.log.error({ err: error }, 'the journal could not be read');
      })
      .finally(() => {
        this.#refreshing = undefined;
      });
  }

  status(): LinkStatus {
    const { plan, fence, lanes } = this.#deps;
    const head = plan.current()?.head;
    const backlog: Record<LaneName, number> = { audit: 0, state: 0, telemetry: 0 };
    for (const lane of lanes) backlog[lane.lane] = lane.backlog();
    return {
      connected: this.#state.phase === 'live',
      since: this.#since,
      lastContact: this.#lastContact,
      reason: this.#state.phase === 'waiting' ? this.#state.reason : null,
      refusal: this.#refusal,
      backlog,
      plan: head
        ? {
            state: plan.state(),
            generation: head.generation,
            revision: head.revision,
            issuedAt: head.issued_at,
            expiresAt: head.expires_at,
          }
        : null,
      fenced: fence.reason ?? null,
    };
  }

  #now(): number {
    return this.#deps.clock.monotonic();
  }

  #step(event: LinkEvent, message?: InMessage): void {
    const before = this.#state.phase;
    const { state, effects } = next(this.#state, event, this.#options);
    this.#state = state;
    if ((before === 'live') !== (state.phase === 'live') || this.#since === null) {
      this.#since = this.#deps.clock.now();
    }
    for (const effect of effects) this.#perform(effect, message);
  }

  #perform(effect: LinkEffect, message: InMessage | undefined): void {
    switch (effect.do) {
      case 'dial':
        this.#deps.farEnd?.stop();
        this.#dial();
        break;
      case 'hang-up':
        this.#hangUp();
        break;
      case 'ping':
      case 'pong':
        this.#send({ $case: effect.do, value: { id: effect.id } });
        break;
      case 'meet':
        this.#refusal = null;
        this.#deps.log.info({}, 'the link is up');
        this.#deps.onUp?.();
        if (message?.$case === 'welcome') this.#meet().begin(message.value);
        this.kick();
        break;
      case 'hand-over':
        if (this.#meeting) this.#meeting.handOver(true);
        else this.#meet().handOver(false);
        this.kick();
        break;
      case 'deliver':
        if (message) this.#meeting?.deliver(message);
        break;
      case 'part':
        this.#deps.log.info({ reason: effect.reason }, 'the link is down');
        this.#over = this.#meeting?.end() ?? this.#over;
        this.#meeting = undefined;
        break;
      case 'refused':
        this.#refused(effect.code, effect.message);
        break;
      case 'wake-at':
        this.#wakeIn(effect.at - this.#now());
        break;
      case 'wake-after-backoff':
        this.#wakeIn(this.#delay(effect.failures, effect.patient));
        // Who was refused is not let in sooner for coming back sooner.
        if (!effect.patient) this.#deps.farEnd?.watch(() => this.#wakeIn(0));
        break;
    }
  }

  #hangUp(): void {
    this.#call?.close();
    this.#call = undefined;
    clearTimeout(this.#timer);
  }

  #dial(): void {
    const handlers: CallHandlers = {
      onMessage: (message) => {
        if (call !== undefined && call !== this.#call) return;
        this.#lastContact = this.#deps.clock.now();
        this.#step({ type: 'heard', now: this.#now(), what: heardOf(message) }, message);
      },
      onBroken: (reason) => {
        if (call !== undefined && call !== this.#call) return;
        this.#step({ type: 'broke', now: this.#now(), reason });
      },
    };
    let call: LinkCall | undefined;
    try {
      call = this.#deps.dial(handlers);
    } catch (error) {
      // A key or certificate that cannot be read: it may be there at the next attempt.
      const reason = messageOf(error);
      queueMicrotask(() => handlers.onBroken(reason));
      return;
    }
    this.#call = call;
    this.#send({ $case: 'hello', value: this.#hello() });
  }

  #hello(): Extract<OutMessage, { $case: 'hello' }>['value'] {
    const { lanes, plan, orders, fence } = this.#deps;
    const head = plan.current()?.head;
    return {
      epoch: BigInt(fence.epoch),
      bootId: this.#bootId,
      version: this.#options.version,
      journal: lanes.map(({ lane, log, sealed }) => ({
        lane: wireLaneOf(lane),
        log,
        seq: BigInt(sealed.seq),
        chain: Buffer.from(sealed.chain),
      })),
      ordersLog: orders.position.log,
      ordersSeq: BigInt(orders.position.seq),
      ordersChain: Buffer.from(orders.position.chain),
      planGeneration: BigInt(head?.generation ?? 0),
      planRevision: BigInt(head?.revision ?? 0),
      windowBytes: this.#options.windowBytes,
    };
  }

  #meet(): Meeting {
    const call = this.#call;
    this.#meeting = new Meeting(
      { ...this.#deps, journal: this.#journal, before: this.#over },
      {
        send: (message) => call?.send(message),
        fail: (error) => {
          if (call === this.#call) this.#fail(error);
        },
      },
      { ordersBytes: this.#options.windowBytes },
    );
    return this.#meeting;
  }

  #refused(code: string, message: string): void {
    this.#refusal = { code, message };
    this.#deps.log.warn({ code, message }, 'the control plane refuses this gateway');
    if (code !== 'GATEWAY_FENCED') return;
    this.#deps.fence.raise(code, message).catch((error: unknown) => {
      this.#deps.log.error({ err: error }, 'the fence could not be stored');
    });
  }

  #fail(error: unknown): void {
    const reason = messageOf(error);
    const code = isHoldfastError(error) ? error.code : undefined;
    this.#deps.log.warn({ code, reason }, 'the link is given up');
    this.#step({ type: 'broke', now: this.#now(), reason });
  }

  #send(message: OutMessage): void {
    this.#call?.send(message);
  }

  /** Telemetry that comes point by point goes as batches. */
  #gather(lane: LaneName): void {
    if (lane !== 'telemetry') {
      this.#journal.pump();
      return;
    }
    this.#gatherTimer ??= setTimeout(() => {
      this.#gatherTimer = undefined;
      this.#journal.pump();
    }, gatherMs);
  }

  #delay(failures: number, isPatient: boolean): number {
    const { firstRetryMs, mostRetryMs, refusedRetryMs } = this.#options;
    const entropy = this.#deps.entropy ?? Math.random;
    if (isPatient) return Math.round((0.5 + entropy() / 2) * refusedRetryMs);
    if (failures === 1 || !this.#delays) {
      this.#delays = backoff({ firstMs: firstRetryMs, mostMs: mostRetryMs, entropy });
    }
    return this.#delays.next().value ?? mostRetryMs;
  }

  #wakeIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#step({ type: 'woke', now: this.#now() }),
      Math.max(0, Math.ceil(ms)),
    );
  }
}

const heardOf = (message: InMessage): Heard => {
  switch (message.$case) {
    case 'welcome':
      return { kind: 'welcome', keepaliveMs: message.value.keepaliveMs };
    case 'refused':
      return { kind: 'refused', ...message.value };
    case 'ping':
      return { kind: 'ping', id: message.value.id };
    case 'pong':
      return { kind: 'pong' };
    default:
      return { kind: 'content' };
  }
};
