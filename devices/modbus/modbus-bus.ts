/**
 * Whose turn it is on a bus: one request at a time, each unit its fair part of the time, silent ones together no more than a fifth of it.
 *
 * What people at the site ask goes before the next turn, but never twice in a row while somebody waits for a turn.
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { BusStatistics } from './bus-statistics.js';
import { LateReplies } from './late-replies.js';
import type { ModbusClient } from './modbus-client.js';
import type { ModbusOutcome, ModbusRequest } from './modbus-request.js';
import type { AskUnit, ModbusUnit } from './modbus-unit.js';
import type { Timers } from './timers.js';

export interface ModbusBusOptions {
  readonly timeoutMs: number;
}

interface Asked {
  readonly request: ModbusRequest;
  readonly timeoutMs: number;
  readonly resolve: (outcome: ModbusOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** After a turn of a unit that is silent others have the bus for so many times as long. */
const silentPart = 4;
/** When the line comes up, all are to be found soon. */
const unknownPart = 1;
const mostAsked = 16;
/** How long an answer of a unit that is nobody's device may be on its way. */
const strangerMs = 10_000;
/** After what should not happen, so that it does not happen all the time. */
const troubledMs = 1_000;

const isLineAway = (error: unknown): boolean =>
  isHoldfastError(error, 'SERIAL_LINE_DOWN') || isHoldfastError(error, 'SERIAL_LINE_BUSY');

export class ModbusBus {
  readonly statistics: BusStatistics;
  readonly #timers: Timers;
  readonly #units: readonly ModbusUnit[];
  readonly #timeoutMs: number;
  readonly #asked: Asked[] = [];
  readonly #strangers = new Map<number, LateReplies>();
  #client: ModbusClient | null = null;
  #away = 'it has not been reached yet';
  #running: Promise<void> = Promise.resolve();
  #servedMs = 0;
  #silentNotBefore = 0;
  #wake: () => void = () => undefined;

  constructor(timers: Timers, units: readonly ModbusUnit[], { timeoutMs }: ModbusBusOptions) {
    this.#timers = timers;
    this.#units = units;
    this.#timeoutMs = timeoutMs;
    this.statistics = new BusStatistics(timers);
    for (const unit of units) unit.onWake(() => this.#wake());
  }

  /** By its number. */
  unit(number: number): ModbusUnit | undefined {
    return this.#units.find(({ unit }) => unit === number);
  }

  /** The line is there. */
  begin(client: ModbusClient): void {
    this.#client = client;
    for (const unit of this.#units) unit.begin();
    this.#running = this.#running.then(() => this.#run(client));
  }

  /** The line is gone, or lent to somebody else. */
  end(reason: string): void {
    this.#client = null;
    this.#away = reason;
    const error = new HoldfastError('SERIAL_LINE_DOWN', reason);
    for (const { reject } of this.#asked.splice(0)) reject(error);
    this.#wake();
    for (const unit of this.#units) void unit.leave(reason);
  }

  /** Resolves when nothing is under way any more and every unit is told as gone. */
  async close(reason: string): Promise<void> {
    this.end(reason);
    await this.#running;
    await Promise.all(this.#units.map((unit) => unit.leave(reason)));
  }

  /** Something that a person wants to know or to set. SERIAL_LINE_DOWN, SERIAL_LINE_BUSY. */
  ask(request: ModbusRequest, timeoutMs: number = this.#timeoutMs): Promise<ModbusOutcome> {
    if (this.#client === null) {
      const message = `the bus is away: ${this.#away}`;
      const data = { next: 'holdfast --gateway modbus status' };
      return Promise.reject(new HoldfastError('SERIAL_LINE_DOWN', message, { data }));
    }
    if (this.#asked.length >= mostAsked) {
      return Promise.reject(new HoldfastError('SERIAL_LINE_BUSY', 'Others ask on this bus'));
    }
    return new Promise((resolve, reject) => {
      this.#asked.push({ request, timeoutMs, resolve, reject });
      this.#wake();
    });
  }

  async #run(client: ModbusClient): Promise<void> {
    let wasAsked = false;
    while (this.#client === client) {
      const unit = this.#choose(this.#timers.now());
      const asked: Asked | undefined =
        wasAsked && unit !== undefined ? undefined : this.#asked.shift();
      wasAsked = asked !== undefined;
      try {
        if (asked !== undefined) await this.#answer(client, asked);
        else if (unit !== undefined) await this.#turn(client, unit);
        else await this.#sleep();
      } catch (error) {
        // That the port is gone, or lent, its line says.
        if (!isLineAway(error)) {
          unit?.troubled(error);
          await new Promise<void>((resolve) => this.#timers.after(troubledMs, resolve));
        } else if (this.#client === client) await this.#sleep();
      }
    }
  }

  async #turn(client: ModbusClient, unit: ModbusUnit): Promise<void> {
    const from = this.#timers.now();
    // One that was idle has saved nothing up.
    unit.spentMs = Math.max(unit.spentMs, this.#servedMs);
    this.#servedMs = unit.spentMs;
    const part = unit.isUnknown ? unknownPart : silentPart;
    try {
      await unit.turn((request) => client.ask(request, this.#timeoutMs));
    } finally {
      const now = this.#timers.now();
      unit.spentMs += now - from;
      if (unit.isAiling) this.#silentNotBefore = now + part * (now - from);
    }
  }

  async #answer(client: ModbusClient, asked: Asked): Promise<void> {
    const { request, timeoutMs, resolve, reject } = asked;
    const unit = this.unit(request.unit);
    const ask = (one: ModbusRequest): Promise<ModbusOutcome> => client.ask(one, timeoutMs);
    try {
      resolve(
        await (unit === undefined ? this.#askStranger(ask, request) : unit.lend(ask, request)),
      );
    } catch (error) {
      reject(error);
      throw error;
    }
  }

  /** Whose late answers are nobody else's to keep in mind. */
  async #askStranger(ask: AskUnit, request: ModbusRequest): Promise<ModbusOutcome> {
    const { unit } = request;
    const late = this.#strangers.get(unit) ?? new LateReplies({ forgetAfterMs: strangerMs });
    this.#strangers.set(unit, late);
    const asked = async (one: ModbusRequest): Promise<ModbusOutcome> => {
      const outcome = await ask(one);
      if (one.type !== 'read') return outcome;
      if (outcome.type === 'none') late.missed(one, this.#timers.now());
      else late.answered(one, outcome.type === 'exception');
      return outcome;
    };
    const now = this.#timers.now();
    if (request.type === 'read' && late.isConfusable(request, now)) {
      const other = late.settling([], now);
      if (other !== null) await asked({ type: 'read', unit, ...other });
      // Then nothing but its own answer would be taken for it, or there is none.
      if (late.isConfusable(request, this.#timers.now())) return { type: 'none', isGarbled: false };
    }
    return asked(request);
  }

  #choose(now: number): ModbusUnit | undefined {
    let chosen: ModbusUnit | undefined;
    for (const unit of this.#units) {
      if (this.#dueAt(unit) > now) continue;
      const spent = Math.max(unit.spentMs, this.#servedMs);
      const least = chosen && Math.max(chosen.spentMs, this.#servedMs);
      const isSooner =
        chosen === undefined ||
        spent < (least ?? 0) ||
        (spent === least && unit.dueAt < chosen.dueAt);
      if (isSooner) chosen = unit;
    }
    return chosen;
  }

  #dueAt(unit: ModbusUnit): number {
    return unit.isAiling ? Math.max(unit.dueAt, this.#silentNotBefore) : unit.dueAt;
  }

  /** Until somebody is due, or wakes it. */
  async #sleep(): Promise<void> {
    const now = this.#timers.now();
    const dueAt = Math.min(...this.#units.map((unit) => this.#dueAt(unit)));
    let stop = (): void => undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (dueAt !== Number.POSITIVE_INFINITY) {
        stop = this.#timers.after(Math.max(1, dueAt - now), resolve);
      }
    });
    stop();
    this.#wake = () => undefined;
  }
}
