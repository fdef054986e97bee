/**
 * One unit as a device: it is online while it answers, what its registers hold is telemetry, what is desired of them is written.
 *
 * The bus gives it turns; in each it asks for one thing. What it tells the gateway holds up no turn.
 */
import { randomUUID } from 'node:crypto';
import type { JsonObject, JsonValue } from '@holdfast/protos/mqtt/json-payload';
import type { SerialHandlers } from '../serial/serial-driver.js';
import { LateReplies } from './late-replies.js';
import {
  exceptionText,
  isFromConverter,
  isRefusal,
  type ModbusOutcome,
  type ModbusRequest,
} from './modbus-request.js';
import { partOf, planBlocks, type ReadBlock } from './read-block.js';
import type { Register, RegisterMap } from './register-map.js';
import { decode } from './register-value.js';
import { RegisterWrites } from './register-write.js';
import type { Timers } from './timers.js';
import { UnitDesired } from './unit-desired.js';
import { type PolledBlock, UnitPolling } from './unit-polling.js';
import { UnitReports } from './unit-reports.js';
import { UnitTelling } from './unit-telling.js';

export interface ModbusUnitOptions {
  readonly device: string;
  /** Its number on the bus. */
  readonly unit: number;
  readonly map: RegisterMap;
  /** An answer says which request it is to: Modbus TCP. */
  readonly isNumbered: boolean;
  readonly timeoutMs: number;
}

export type UnitHandlers = Pick<
  SerialHandlers,
  'online' | 'welcomed' | 'offline' | 'telemetry' | 'reported' | 'desired' | 'failed' | 'time'
>;

export interface UnitCounts {
  readonly answers: number;
  readonly unanswered: number;
  /** Registers without a value, and why. */
  readonly problems: ReadonlyMap<string, string>;
}

/** Sends a request when its turn has come. */
export type AskUnit = (request: ModbusRequest) => Promise<ModbusOutcome>;

/** Requests in a row without an answer after which it is gone. */
const offlineAfter = 3;
const firstRetryMs = 1_000;
const rarestRetryMs = 60_000;
/** One that the gateway does not take is offered again. */
const offerAgainMs = 30_000;

export class ModbusUnit {
  readonly device: string;
  readonly unit: number;
  /** How much of the bus it had; the bus keeps it. */
  spentMs = 0;
  readonly #handlers: UnitHandlers;
  readonly #timers: Timers;
  readonly #map: RegisterMap;
  readonly #isNumbered: boolean;
  readonly #polling: UnitPolling;
  readonly #telling: UnitTelling;
  readonly #reports: UnitReports;
  readonly #desired: UnitDesired;
  readonly #late: LateReplies;
  readonly #writes: RegisterWrites;
  #presence: 'away' | 'arriving' | 'online' = 'away';
  #ask: AskUnit = async () => ({ type: 'none', isGarbled: false });
  #failures = 0;
  #attempts = 0;
  #asked = 0;
  #retryAt = 0;
  #refusedUntil = 0;
  #answers = 0;
  #unanswered = 0;
  #wake: () => void = () => undefined;

  constructor(handlers: UnitHandlers, timers: Timers, options: ModbusUnitOptions) {
    const { device, unit, map, isNumbered, timeoutMs } = options;
    this.#handlers = handlers;
    this.#timers = timers;
    this.device = device;
    this.unit = unit;
    this.#map = map;
    this.#isNumbered = isNumbered;
    const telling = new UnitTelling(handlers.failed);
    this.#telling = telling;
    this.#reports = new UnitReports({ handlers, timers, telling });
    const report = (leaves: JsonObject): void => this.#reports.report(leaves);
    this.#desired = new UnitDesired({ handlers, timers, telling, report }, map);
    this.#polling = new UnitPolling(planBlocks(map));
    this.#late = new LateReplies({ forgetAfterMs: Math.max(10 * timeoutMs, 10_000) });
    this.#writes = new RegisterWrites((request) => this.#send({ ...request, unit }));
  }

  get isOnline(): boolean {
    return this.#presence === 'online';
  }

  /** It did not answer the last time, or nobody knows yet: then it has its turns from what the bus has left for such. */
  get isAiling(): boolean {
    return this.#failures > 0 || this.isUnknown;
  }

  /** It was not asked since the line is there. */
  get isUnknown(): boolean {
    return this.#asked === 0;
  }

  get counts(): UnitCounts {
    const { problems } = this.#reports;
    return { answers: this.#answers, unanswered: this.#unanswered, problems };
  }

  /** When it wants its next turn. */
  get dueAt(): number {
    if (this.#presence === 'arriving') return Number.POSITIVE_INFINITY;
    if (this.#presence === 'away' || this.#failures > 0) return this.#retryAt;
    return this.#desired.isWaiting ? 0 : this.#polling.dueAt;
  }

  /** Called when `dueAt` may be earlier than it was. */
  onWake(wake: () => void): void {
    this.#wake = wake;
  }

  /** The line is there: it is asked at once. */
  begin(): void {
    this.#retryAt = 0;
    this.#attempts = 0;
    this.#asked = 0;
    this.#failures = 0;
    this.#refusedUntil = 0;
  }

  /** Asks for one thing, through `ask`. */
  async turn(ask: AskUnit): Promise<void> {
    this.#ask = ask;
    this.#asked += 1;
    if (await this.#settle()) return;
    const wanted = this.isOnline ? this.#desired.take() : undefined;
    if (wanted === undefined) await this.#poll();
    else await this.#write(...wanted);
  }

  /** Asks as somebody at the site wants, when no answer can be mistaken for another. */
  async lend(ask: AskUnit, request: ModbusRequest): Promise<ModbusOutcome> {
    this.#ask = ask;
    for (let tries = 0; tries < 3 && !this.#late.isSettled(this.#timers.now()); tries += 1) {
      await this.#settle();
    }
    const isConfusable =
      request.type === 'read' && this.#late.isConfusable(request, this.#timers.now());
    return isConfusable ? { type: 'none', isGarbled: false } : this.#send(request);
  }

  /** Resolves when it is told as gone. */
  async leave(reason: string): Promise<void> {
    this.#desired.forget();
    if (this.#presence !== 'away') {
      const wasOnline = this.#presence === 'online';
      this.#presence = 'away';
      this.#telling.leave();
      this.#reports.forget();
      if (wasOnline) this.#telling.tell(() => this.#handlers.offline(reason));
    }
    await this.#telling.settled;
  }

  /** The gateway takes nothing of it for now. */
  refuse(reason: string): void {
    this.#offerLater();
    void this.leave(reason);
  }

  /** What is desired and not reported. */
  want(state: JsonObject): void {
    this.#desired.want(state);
    if (this.#desired.isWaiting) this.#wake();
  }

  async #write(register: Register, value: JsonValue): Promise<void> {
    const { stay } = this.#telling;
    const result = await this.#writes.write(register, value);
    if (stay !== this.#telling.stay) return;
    this.#desired.written(register, value, result);
    if (result.type !== 'refused' && result.value !== undefined) {
      this.#reports.take([[register, { ok: true, value: result.value }]]);
    }
  }

  /** Sees to it that no answer to an earlier request can be mistaken for the next; true where that took its turn. */
  async #settle(): Promise<boolean> {
    const now = this.#timers.now();
    if (this.#late.isSettled(now)) return false;
    const blocks = this.#polling.blocks;
    const inOrder = this.#polling.inOrder(now);
    const plain = inOrder.find(({ block }) => !this.#late.isConfusable(block, now));
    if (plain !== undefined) {
      await this.#read(plain);
      return true;
    }
    const other = this.#late.settling(blocks, now);
    if (other === null) {
      this.#failures = Math.max(1, this.#failures);
      this.#retryAt = Math.max(this.#retryAt, this.#late.settlesAt);
      return true;
    }
    await this.#send({ type: 'read', unit: this.unit, ...other });
    return true;
  }

  async #poll(): Promise<void> {
    if (this.#reports.wantsAll) this.#reports.all(this.#desired.refusals);
    const [polled] = this.#polling.inOrder(this.#timers.now());
    if (polled !== undefined) await this.#read(polled);
    this.#desired.look();
  }

  async #read(polled: PolledBlock): Promise<void> {
    const { block } = polled;
    const { kind, address, count } = block;
    const { stay } = this.#telling;
    const wasOnline = this.isOnline;
    const outcome = await this.#send({ type: 'read', unit: this.unit, kind, address, count });
    const now = this.#timers.now();
    if (outcome.type === 'answer') {
      this.#polling.answered(polled, now);
      if (wasOnline && stay === this.#telling.stay) this.#takeBlock(block, outcome.bytes);
      return;
    }
    const isSplit =
      outcome.type === 'exception'
        ? isRefusal(outcome.code) && this.#polling.split(polled, now)
        : this.#hasAnsweredOthers(polled) && this.#polling.split(polled, now);
    if (isSplit) return;
    this.#polling.failed(polled, now, this.#answers);
    if (outcome.type !== 'exception' || !wasOnline || stay !== this.#telling.stay) return;
    const reason = exceptionText(outcome.code);
    this.#reports.take(block.registers.map((register) => [register, { ok: false, reason }]));
  }

  /** Some units say nothing at all to a block that they do not like, and answer others meanwhile. */
  #hasAnsweredOthers({ failures, failedAt }: PolledBlock): boolean {
    return failures > 0 && this.#answers > failedAt;
  }

  #takeBlock(block: ReadBlock, bytes: Buffer): void {
    this.#reports.take(
      block.registers.map((register) => [
        register,
        decode(register, partOf(block, register, bytes)),
      ]),
    );
  }

  /** Sends a request, and learns from what comes of it how the unit is. */
  async #send(request: ModbusRequest): Promise<ModbusOutcome> {
    const outcome = await this.#ask(request);
    const now = this.#timers.now();
    if (request.type === 'read' && !this.#isNumbered) {
      if (outcome.type === 'none') this.#late.missed(request, now);
      else this.#late.answered(request, outcome.type === 'exception');
    }
    const isSilent =
      outcome.type === 'none' || (outcome.type === 'exception' && isFromConverter(outcome.code));
    if (isSilent) this.#missed(now);
    else this.#heard();
    return outcome;
  }

  #missed(now: number): void {
    this.#unanswered += 1;
    this.#failures += 1;
    if (this.#failures < offlineAfter) {
      this.#retryAt = now + firstRetryMs;
      return;
    }
    this.#attempts += 1;
    this.#retryAt =
      now + Math.min(firstRetryMs * 2 ** Math.min(this.#attempts - 1, 10), rarestRetryMs);
    if (this.#presence !== 'away') void this.leave('the unit does not answer');
  }

  #heard(): void {
    this.#answers += 1;
    this.#failures = 0;
    this.#attempts = 0;
    if (this.#presence === 'away' && this.#timers.now() >= this.#refusedUntil) this.#arrive();
  }

  /** Something went wrong in its turn that is neither its own fault nor the line's. */
  troubled(error: unknown): void {
    this.#handlers.failed(error);
  }

  #arrive(): void {
    this.#presence = 'arriving';
    const telling = this.#telling;
    const { stay } = telling;
    const hello = { id: this.device, model: this.#map.model, version: '', boot: randomUUID() };
    telling.tell(async () => {
      if (stay !== telling.stay) return;
      try {
        await this.#handlers.online(hello);
      } catch (error) {
        this.#handlers.failed(error);
        this.#presence = 'away';
        telling.leave();
        this.#offerLater();
        return;
      }
      if (stay !== telling.stay) {
        // It went meanwhile, and nobody has told that yet.
        await this.#handlers.offline('the unit does not answer');
        return;
      }
      this.#presence = 'online';
      this.#polling.begin(this.#timers.now());
      this.#reports.all(this.#desired.refusals);
      this.#handlers.welcomed();
      this.#wake();
    });
  }

  #offerLater(): void {
    this.#refusedUntil = this.#timers.now() + offerAgainMs;
    this.#retryAt = this.#refusedUntil;
    this.#wake();
  }
}
