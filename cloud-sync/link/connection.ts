/**
 * One connection of one gateway (link.proto): from its hello to its end. It decides nothing by itself that must hold: epochs are in
 * `meeting`, the journal in `up-lanes`, plan and orders in `down-lanes`.
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { SignedTime } from '@holdfast/provisioning/documents/time';
import type { Signals } from '../bus/signals.js';
import { type PlanAnswer, recordPlanAnswer } from '../sites/plan-answer.js';
import type { Contacts, LiveConnection } from './contacts.js';
import { DownLanes, type DownLanesDependencies } from './down-lanes.js';
import type { GatewayIdentity } from './gateway-identity.js';
import { noteContact } from './journal-ingest.js';
import { lanePosition, requireCount } from './lanes.js';
import { fencedReason, type Hello, type MeetingDependencies, meet, meetLanes } from './meeting.js';
import type { Heard, LinkStream } from './stream.js';
import { UpLanes, type UpLanesDependencies } from './up-lanes.js';

export interface ConnectionDependencies
  extends MeetingDependencies,
    UpLanesDependencies,
    DownLanesDependencies {
  readonly contacts: Contacts;
  readonly signals: Signals;
  readonly signTime: (time: SignedTime) => Promise<string>;
  readonly log: {
    info(data: object, message: string): void;
    warn(data: object, message: string): void;
    error(data: object, message: string): void;
  };
}

export interface ConnectionOptions {
  /** Bytes of journal batches that may be under way. */
  readonly windowBytes: number;
  readonly keepaliveMs: number;
}

const nonceBytes = 16;

export class Connection implements LiveConnection {
  readonly gateway: GatewayIdentity;
  readonly bootId: string;
  readonly #deps: ConnectionDependencies;
  readonly #options: ConnectionOptions;
  readonly #stream: LinkStream;
  readonly #hello: Hello;
  readonly #up: UpLanes;
  readonly #pings = new Map<bigint, () => void>();
  #lastPing = 0n;
  #heardAt: number;
  #phase: 'greeting' | 'live' | 'fenced' | 'refused' = 'greeting';
  #down: DownLanes | undefined;
  #isTellingTime = false;

  constructor(
    deps: ConnectionDependencies,
    options: ConnectionOptions,
    { stream, gateway, hello }: { stream: LinkStream; gateway: GatewayIdentity; hello: Hello },
  ) {
    this.#deps = deps;
    this.#options = options;
    this.#stream = stream;
    this.gateway = gateway;
    this.bootId = hello.bootId;
    this.#hello = hello;
    this.#heardAt = performance.now();
    this.#up = new UpLanes(deps, stream, {
      gateway,
      windowBytes: options.windowBytes,
      onFailure: (error) => this.#giveUp(error),
    });
  }

  /** Runs the connection; resolves when it is over. Never rejects. */
  async run(): Promise<void> {
    const { contacts, engine, now, log, signals } = this.#deps;
    const { site, gateway, epoch } = this.gateway;
    const stopListening = signals.subscribe(`site:${site}`, () => void this.#lookAtSite());
    const heartbeat = setInterval(() => this.#beat(), this.#options.keepaliveMs / 4);
    try {
      await this.#begin();
      if (!this.isOver) {
        await new Promise<void>((resolve) => {
          this.#stream.ended.addEventListener('abort', () => resolve(), { once: true });
        });
      }
    } catch (error) {
      this.#giveUp(error);
    } finally {
      clearInterval(heartbeat);
      stopListening();
      await this.#down?.close();
      await this.#up.close();
      contacts.release(this);
      if (this.#phase === 'live') {
        await engine.write((tx) => noteContact(tx, site, now())).catch(() => undefined);
        signals.publish(`site:${site}`);
      }
      const reason: unknown = this.#stream.ended.reason;
      log.info({ site, gateway, epoch, reason: String(reason) }, 'a gateway disconnected');
    }
  }

  /** Takes a message; called in the order in which they came. */
  hear(message: Heard): void {
    this.#heardAt = performance.now();
    try {
      this.#handle(message);
    } catch (error) {
      this.#giveUp(error);
    }
  }

  get isOver(): boolean {
    return this.#stream.ended.aborted;
  }

  async answersWithin(ms: number): Promise<boolean> {
    if (this.isOver) return false;
    this.#lastPing += 1n;
    const id = this.#lastPing;
    return new Promise((resolve) => {
      const settle = (answered: boolean) => {
        clearTimeout(timer);
        this.#pings.delete(id);
        this.#stream.ended.removeEventListener('abort', onEnd);
        resolve(answered);
      };
      const onEnd = () => settle(false);
      const timer = setTimeout(() => settle(false), ms);
      this.#pings.set(id, () => settle(true));
      this.#stream.ended.addEventListener('abort', onEnd, { once: true });
      this.#stream.say({ $case: 'ping', value: { id } });
    });
  }

  yieldTo(bootId: string): void {
    const { site } = this.gateway;
    this.#deps.log.warn({ site, to: bootId }, 'a newer connection of the gateway took over');
    this.#stream.fail(new HoldfastError('CONNECTION_FAILED', 'a newer connection took over'));
  }

  async #begin(): Promise<void> {
    const { log, contacts } = this.#deps;
    const { site, gateway, epoch } = this.gateway;
    const fenced = (await fencedReason(this.#deps, this.gateway)) ?? this.#claimedEpoch();
    if (fenced !== undefined) return this.#fence(fenced);
    if (!(await contacts.admit(this))) return this.isOver ? undefined : this.#refuseClone();
    // Between the look at the epoch and being admitted, another gateway may have been enrolled.
    const overtaken = await fencedReason(this.#deps, this.gateway);
    if (overtaken !== undefined) return this.#fence(overtaken);
    const orders = await meet(this.#deps, this.gateway, this.#hello);
    await this.#welcome();
    log.info({ site, gateway, epoch, version: this.#hello.version }, 'a gateway connected');
    this.#down = new DownLanes(this.#deps, this.#stream, {
      site,
      windowBytes: this.#hello.windowBytes,
      plan: this.#hello.plan,
      orders,
    });
    this.#down.open();
    this.#deps.signals.publish(`site:${site}`);
  }

  /** The certificate decides; a gateway that believes itself of another epoch has a store that is not its own. */
  #claimedEpoch(): HoldfastError | undefined {
    const { epoch } = this.#hello;
    if (epoch === this.gateway.epoch) return undefined;
    const message = `The gateway says epoch ${epoch}, its certificate is of epoch ${this.gateway.epoch}`;
    return epoch < this.gateway.epoch
      ? new HoldfastError('GATEWAY_FENCED', message)
      : new HoldfastError('NOT_AUTHORISED', message);
  }

  async #welcome(): Promise<void> {
    const { now } = this.#deps;
    const lanes = await meetLanes(this.#deps, this.gateway.site, this.#hello.journal);
    this.#stream.say({
      $case: 'welcome',
      value: {
        journal: lanes.map((met) => lanePosition(met.lane, met.log, met)),
        windowBytes: this.#options.windowBytes,
        keepaliveMs: this.#options.keepaliveMs,
        serverTime: new Date(now()),
      },
    });
    this.#phase = 'live';
    this.#heardAt = performance.now();
    this.#up.begin(lanes);
  }

  /** Says that the site has another owner. What this gateway saw until then is still taken: positions, then its batches. */
  async #fence(error: HoldfastError): Promise<void> {
    const wasLive = this.#phase === 'live';
    this.#phase = 'fenced';
    this.#heardAt = performance.now();
    const { site, gateway } = this.gateway;
    this.#deps.contacts.release(this);
    await this.#down?.close();
    this.#deps.log.warn({ site, gateway, code: error.code }, error.message);
    this.#refuse(error);
    if (error.code !== 'GATEWAY_FENCED') return this.#stream.end();
    // A gateway that was welcomed knows where its lanes stand, and has said more since its hello.
    if (wasLive) return;
    const lanes = await meetLanes(this.#deps, site, this.#hello.journal);
    for (const met of lanes) {
      const position = lanePosition(met.lane, met.log, met);
      if (met.resetReason === undefined) {
        this.#stream.say({ $case: 'journalCommitted', value: { position } });
      }
    }
    this.#up.begin(lanes);
  }

  async #refuseClone(): Promise<void> {
    const { engine, log, signals } = this.#deps;
    const { site, gateway } = this.gateway;
    this.#phase = 'refused';
    await engine.write(async ({ db }) => {
      await db
        .updateTable('sites')
        .set({ clone_suspected: 1 })
        .where('site_id', '=', site)
        .execute();
    });
    log.error({ site, gateway }, 'two gateways with one identity are connected: one is a clone');
    signals.publish(`site:${site}`);
    this.#refuse(
      new HoldfastError(
        'GATEWAY_CLONED',
        'Another gateway with the same identity is connected and answers. Find out which is the copy, and replace the gateway',
      ),
    );
    this.#stream.end();
  }

  #refuse({ code, message }: HoldfastError): void {
    this.#stream.say({ $case: 'refused', value: { code, message } });
  }

  #handle(message: Heard): void {
    switch (message.$case) {
      case 'journal':
        // Before the welcome nobody knows whether this one may speak for its site.
        if (this.#phase === 'greeting') throw new HoldfastError('REQUEST_INVALID', 'too early');
        this.#up.take(message.value);
        return;
      case 'ping':
        this.#stream.say({ $case: 'pong', value: { id: message.value.id } });
        return;
      case 'pong':
        this.#pings.get(message.value.id)?.();
        return;
      case 'planApplied': {
        const { generation, revision, refusedCode: code, refusedMessage } = message.value;
        const answer = {
          generation: requireCount(generation, 'generation'),
          revision: requireCount(revision, 'revision'),
          ...(code === '' ? {} : { refused: { code, message: refusedMessage } }),
        };
        this.#recordPlan(answer);
        return;
      }
      case 'documentsWanted':
        this.#down?.sendDocuments(message.value.sha256);
        return;
      case 'ordersCommitted': {
        const { log, seq } = message.value;
        this.#down?.ordersCommitted(log, requireCount(seq, 'seq'));
        return;
      }
      case 'timeAsked':
        this.#tellTime(message.value.nonce);
        return;
      case 'hello':
        throw new HoldfastError('REQUEST_INVALID', 'a connection begins with one hello');
    }
  }

  /** One answer is made at a time: a gateway that asks faster than that is not served for it. */
  #tellTime(nonce: Uint8Array): void {
    if (this.#phase !== 'live' || this.#isTellingTime) return;
    if (nonce.length !== nonceBytes) throw new HoldfastError('REQUEST_INVALID', 'no such nonce');
    this.#isTellingTime = true;
    const { signTime, now } = this.#deps;
    const { site } = this.gateway;
    signTime({ site, nonce: Buffer.from(nonce).toString('hex'), time: now() })
      .then((jws) => this.#stream.say({ $case: 'signedTime', value: { jws } }))
      .catch((error: unknown) => this.#giveUp(error))
      .finally(() => {
        this.#isTellingTime = false;
      });
  }

  #recordPlan(answer: PlanAnswer): void {
    if (this.#phase !== 'live') return;
    this.#deps.engine
      .write(async (tx) => {
        await recordPlanAnswer(tx, this.gateway.site, answer);
        // The site has another plan of the same number: one that was published and then lost here, in a restore.
        if (answer.refused?.code === 'PLAN_CONFLICT') {
          await this.#deps.plans.raiseGeneration(tx, this.gateway.site, answer.generation);
        }
      })
      .catch((error: unknown) => this.#giveUp(error));
  }

  async #lookAtSite(): Promise<void> {
    if (this.#phase !== 'live' || this.isOver) return;
    try {
      const fenced = await fencedReason(this.#deps, this.gateway);
      if (fenced !== undefined && this.#phase === 'live') await this.#fence(fenced);
    } catch (error) {
      this.#giveUp(error);
    }
  }

  #beat(): void {
    // Until it is welcomed a gateway waits for us, with a deadline of its own, and takes a ping for a mistake.
    if (this.#phase === 'greeting') return;
    const { keepaliveMs } = this.#options;
    const silentMs = performance.now() - this.#heardAt;
    if (silentMs >= keepaliveMs * 1.5) {
      this.#stream.fail(new HoldfastError('CONNECTION_FAILED', 'nothing was heard of the gateway'));
    } else if (silentMs >= keepaliveMs) {
      this.#lastPing += 1n;
      this.#stream.say({ $case: 'ping', value: { id: this.#lastPing } });
    }
  }

  /** What the gateway did wrong it is told; what failed here makes it come again. */
  #giveUp(error: unknown): void {
    if (this.isOver) return;
    const { site } = this.gateway;
    const known = isHoldfastError(error) ? error : undefined;
    this.#deps.log.error({ site, err: error }, 'a connection of a gateway failed');
    if (known !== undefined && !known.isRetryable && known.code !== 'INTERNAL') {
      this.#refuse(known);
      this.#stream.end();
    } else {
      this.#stream.fail(known ?? new HoldfastError('INTERNAL', 'Holdfast made a mistake'));
    }
  }
}
