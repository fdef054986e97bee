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
import { problemsLeaf, type Register, type RegisterMap, refusedLeaf } from './register-map.js';
import { decode, encode, type Read, type RegisterValue } from './register-value.js';
import { RegisterWrites, type WriteResult } from './register-write.js';
import type { Timers } from './timers.js';
import { type PolledBlock, UnitPolling } from './unit-polling.js';
import { UnitValues } from './unit-values.js';

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
/** What the gateway has not committed yet, in blocks; more is not told, and read again later. */
const mostUntold = 16;
/** Refusals of what nobody desires any more are looked for. */
const lookAtDesiredMs = 60_000;

export class ModbusUnit {
  readonly device: string;
  readonly unit: number;
  /** How much of the bus it had; the bus keeps it. */
  spentMs = 0;
  readonly #handlers: UnitHandlers;
  readonly #timers: Timers;
  readonly #map: RegisterMap;
  readonly #isNumbered: boolean;
  readonly #registers: ReadonlyMap<string, Register>;
  readonly #polling: UnitPolling;
  readonly #values = new UnitValues();
  readonly #late: LateReplies;
  readonly #writes: RegisterWrites;
  readonly #wanted = new Map<string, JsonValue>();
  readonly #refused = new Map<string, { readonly reason: string; readonly value: JsonValue }>();
  #presence: 'away' | 'arriving' | 'online' = 'away';
  /** Grows with each presence: what one began tells nothing in the next. */
  #stay = 0;
  #ask: AskUnit = async () => ({ type: 'none', isGarbled: false });
  #failures = 0;
  #attempts = 0;
  #asked = 0;
  #retryAt = 0;
  #refusedUntil = 0;
  #answers = 0;
  #unanswered = 0;
  #untold = 0;
  /** Something of `reported` could not be told. */
  #isStale = false;
  #lookedAt = 0;
  #telling: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;

  constructor(handlers: UnitHandlers, timers: Timers, options: ModbusUnitOptions) {
    const { device, unit, map, isNumbered, timeoutMs } = options;
    this.#handlers = handlers;
    this.#timers = timers;
    this.device = device;
    this.unit = unit;
    this.#map = map;
    this.#isNumbered = isNumbered;
    this.#registers = new Map(map.registers.map((register) => [register.name, register]));
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
    const { problems } = this.#values;
    return { answers: this.#answers, unanswered: this.#unanswered, problems };
  }

  /** When it wants its next turn. */
  get dueAt(): number {
    if (this.#presence === 'arriving') return Number.POSITIVE_INFINITY;
    if (this.#presence === 'away' || this.#failures > 0) return this.#retryAt;
    return this.#wanted.size > 0 ? 0 : this.#polling.dueAt;
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
    const [wanted] = this.#wanted;
    if (wanted !== undefined && this.isOnline) await this.#write(...wanted);
    else await this.#poll();
  }

  /** Asks as somebody at the site wants, when no answer can be mistaken for another. */
  async lend(ask: AskUnit, request: ModbusRequest): Promise<ModbusOutcome> {
    this.#ask = ask;
    for (let tries = 0; tries < 3 && !this.#late.isSettled(this.#timers.now()); tries += 1) {
      if (!(await this.#settle())) break;
    }
    return this.#send(request);
  }

  /** Resolves when it is told as gone. */
  async leave(reason: string): Promise<void> {
    this.#wanted.clear();
    this.#refused.clear();
    if (this.#presence !== 'away') {
      const wasOnline = this.#presence === 'online';
      this.#presence = 'away';
      this.#stay += 1;
      this.#values.forget();
      if (wasOnline) this.#tell(() => this.#handlers.offline(reason));
    }
    await this.#telling;
  }

  /** The gateway takes nothing of it for now. */
  refuse(reason: string): void {
    this.#offerLater();
    void this.leave(reason);
  }

  /** What is desired and not reported. Resolves when it is taken in hand. */
  want(state: JsonObject): void {
    const refused = new Map<string, { reason: string; value: JsonValue }>();
    for (const [name, value] of Object.entries(state)) {
      const reason = this.#whyNot(name, value);
      if (reason === undefined) this.#wanted.set(name, value);
      else refused.set(name, { reason, value });
    }
    for (const [name, { reason, value }] of refused) this.#refuseWrite(name, value, reason);
    for (const name of this.#refused.keys()) if (!(name in state)) this.#allow(name);
    if (this.#wanted.size > 0) this.#wake();
  }

  #whyNot(name: string, value: JsonValue): string | undefined {
    const register = this.#registers.get(name);
    if (register === undefined) return `${this.#map.name} has no register of this name`;
    if (!register.writable) return 'it is not writable';
    const encoded = encode(register, value);
    return encoded.ok ? undefined : encoded.reason;
  }

  async #write(name: string, value: JsonValue): Promise<void> {
    const register = this.#registers.get(name);
    this.#wanted.delete(name);
    if (register === undefined) return;
    const stay = this.#stay;
    const result = await this.#writes.write(register, value);
    if (stay !== this.#stay) return;
    this.#takeResult(register, value, result);
  }

  #takeResult(register: Register, value: JsonValue, result: WriteResult): void {
    if (result.type === 'written') this.#allow(register.name);
    else this.#refuseWrite(register.name, value, result.reason);
    if ('value' in result) this.#take([[register, { ok: true, value: result.value as never }]]);
  }

  #refuseWrite(name: string, value: JsonValue, reason: string): void {
    const before = this.#refused.get(name);
    this.#refused.set(name, { reason, value });
    if (before?.reason !== reason) this.#report({ [refusedLeaf]: { [name]: reason } });
  }

  #allow(name: string): void {
    if (this.#refused.delete(name)) this.#report({ [refusedLeaf]: { [name]: null } });
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
      this.#retryAt = this.#late.settlesAt;
      return this.isAiling;
    }
    await this.#send({ type: 'read', unit: this.unit, ...other });
    return true;
  }

  async #poll(): Promise<void> {
    if (this.#isStale && this.#untold === 0) this.#reportAll();
    const [polled] = this.#polling.inOrder(this.#timers.now());
    if (polled !== undefined) await this.#read(polled);
    if (this.#refused.size > 0) this.#lookAtDesired();
  }

  async #read(polled: PolledBlock): Promise<void> {
    const { block } = polled;
    const { kind, address, count } = block;
    const stay = this.#stay;
    const wasOnline = this.isOnline;
    const outcome = await this.#send({ type: 'read', unit: this.unit, kind, address, count });
    const now = this.#timers.now();
    if (outcome.type === 'answer') {
      this.#polling.answered(polled, now);
      if (wasOnline && stay === this.#stay) this.#takeBlock(block, outcome.bytes);
      return;
    }
    const isSplit =
      outcome.type === 'exception'
        ? isRefusal(outcome.code) && this.#polling.split(polled, now)
        : this.#hasAnsweredOthers(polled) && this.#polling.split(polled, now);
    if (isSplit) return;
    this.#polling.failed(polled, now, this.#answers);
    if (outcome.type !== 'exception' || !wasOnline || stay !== this.#stay) return;
    const reason = exceptionText(outcome.code);
    this.#take(block.registers.map((register) => [register, { ok: false, reason }]));
  }

  /** Some units say nothing at all to a block that they do not like, and answer others meanwhile. */
  #hasAnsweredOthers({ failures, failedAt }: PolledBlock): boolean {
    return failures > 0 && this.#answers > failedAt;
  }

  #takeBlock(block: ReadBlock, bytes: Buffer): void {
    this.#take(
      block.registers.map((register) => [
        register,
        decode(register, partOf(block, register, bytes)),
      ]),
    );
  }

  #take(reads: readonly (readonly [Register, Read])[]): void {
    if (!this.isOnline || this.#untold >= mostUntold) return;
    const { series, leaves } = this.#values.take(reads, this.#timers.now());
    // Of a time that nobody knows, whoever stores it makes the best.
    const { ts, trusted } = this.#handlers.time();
    const point = (value: RegisterValue) => (trusted ? { value, ts } : { value });
    if (series.length > 0) {
      this.#tell(
        // Together, so that they share a commit.
        () => all(series.map(([name, value]) => this.#handlers.telemetry(name, [point(value)]))),
        () => {
          for (const [name] of series) this.#values.untold(name);
        },
      );
    }
    if (Object.keys(leaves).length > 0) this.#report(leaves);
  }

  #report(leaves: JsonObject): void {
    this.#tell(
      () => this.#handlers.reported(leaves),
      () => {
        this.#isStale = true;
      },
    );
  }

  /** All that is known, anew: for who hears of it first, or has missed some. */
  #reportAll(): void {
    this.#isStale = false;
    this.#values.forget();
    this.#report({ [refusedLeaf]: null, [problemsLeaf]: null });
    if (this.#refused.size === 0) return;
    const refused = [...this.#refused].map(([name, { reason }]) => [name, reason] as const);
    this.#report({ [refusedLeaf]: Object.fromEntries(refused) });
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

  #arrive(): void {
    this.#presence = 'arriving';
    const stay = this.#stay;
    const hello = { id: this.device, model: this.#map.model, version: '', boot: randomUUID() };
    this.#tell(async () => {
      if (stay !== this.#stay) return;
      try {
        await this.#handlers.online(hello);
      } catch (error) {
        this.#handlers.failed(error);
        this.#presence = 'away';
        this.#stay += 1;
        this.#offerLater();
        return;
      }
      if (stay !== this.#stay) {
        // It went meanwhile, and nobody has told that yet.
        await this.#handlers.offline('the unit does not answer');
        return;
      }
      this.#presence = 'online';
      this.#polling.begin(this.#timers.now());
      this.#reportAll();
      this.#handlers.welcomed();
      this.#wake();
    });
  }

  #offerLater(): void {
    this.#refusedUntil = this.#timers.now() + offerAgainMs;
    this.#retryAt = this.#refusedUntil;
    this.#wake();
  }

  #lookAtDesired(): void {
    const now = this.#timers.now();
    if (now - this.#lookedAt < lookAtDesiredMs) return;
    this.#lookedAt = now;
    const stay = this.#stay;
    this.#tell(async () => {
      const { state } = await this.#handlers.desired();
      if (stay !== this.#stay) return;
      for (const [name, { value }] of this.#refused) {
        if (JSON.stringify(state[name]) !== JSON.stringify(value)) this.#allow(name);
      }
    });
  }

  /** One thing after the other, while the bus goes on. */
  #tell(tell: () => Promise<void>, undo: () => void = () => undefined): void {
    const stay = this.#stay;
    this.#untold += 1;
    this.#telling = this.#telling
      .then(tell)
      .catch((error: unknown) => {
        this.#handlers.failed(error);
        if (stay === this.#stay) undo();
      })
      .finally(() => {
        this.#untold -= 1;
      });
  }
}

/** After all of them, and with the first that failed. */
const all = async (work: readonly Promise<void>[]): Promise<void> => {
  for (const result of await Promise.allSettled(work)) {
    if (result.status === 'rejected') throw result.reason;
  }
};
