/**
 * One request at a time on one open port, by modbus-serial. After a request that stayed without an answer the line has to be silent before
 * the next: what comes in between is dropped.
 *
 * Errors: SERIAL_LINE_DOWN, SERIAL_LINE_BUSY of the port. That a unit says nothing, or no, is an outcome.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import modbusSerial from 'modbus-serial';
import type { BytePort } from '../serial/port/byte-port.js';
import type { BusStatistics } from './bus-statistics.js';
import { FramePort } from './frame-port.js';
import type { Framing } from './framing.js';
import { type ModbusOutcome, type ModbusRequest, readCodes } from './modbus-request.js';
import type { Timers } from './timers.js';

export interface ModbusClientDeps {
  readonly port: BytePort;
  readonly framing: Framing;
  readonly timers: Timers;
  readonly statistics: BusStatistics;
}

export interface ModbusClientOptions {
  /** How long a character takes on the wire, ms; 0 where there is none. */
  readonly characterMs: number;
}

type Answer = { readonly buffer?: Buffer };
type Answered = (error: (Error & { modbusCode?: number }) | null, answer?: Answer) => void;

/** An answer with a wrong checksum is given up after this gap: adapters and converters hold bytes back for a while. */
const leastGapMs = 50;

/** A line that never falls silent is asked nevertheless. */
const mostSilenceMs = 1_000;

export class ModbusClient {
  readonly #deps: ModbusClientDeps;
  readonly #characterMs: number;
  readonly #silenceMs: number;
  readonly #frames: FramePort;
  readonly #modbus: InstanceType<typeof modbusSerial.default>;
  /** Of a byte in either direction. */
  #lastByteAt = Number.NEGATIVE_INFINITY;
  #hasStrayBytes = false;
  #isAsking = false;
  #gone: HoldfastError | null = null;
  #heard: (awaited: number, unexplained: number) => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;

  constructor(deps: ModbusClientDeps, { characterMs }: ModbusClientOptions) {
    this.#deps = deps;
    this.#characterMs = characterMs;
    // Above 19,200 baud the standard has a fixed one.
    this.#silenceMs = characterMs === 0 ? 0 : Math.max(1.75, 3.5 * characterMs);
    this.#frames = new FramePort(deps.port, deps.framing, {
      heard: (awaited, unexplained) => {
        this.#lastByteAt = deps.timers.now();
        if (awaited === 0) this.#hasStrayBytes = true;
        this.#heard(awaited, unexplained);
      },
      strays: (count) => deps.statistics.dropped(count),
      failed: (error) => this.#fail(error),
    });
    this.#modbus = new modbusSerial.default(this.#frames);
    this.#modbus.open();
    // Once: a promise keeps whoever waits for it.
    void deps.port.gone.then((reason) => {
      this.#gone = new HoldfastError('SERIAL_LINE_DOWN', reason);
      this.#fail(this.#gone);
    });
  }

  /** `timeoutMs` from when the unit can have read the request to when it can begin to answer. One at a time. */
  async ask(request: ModbusRequest, timeoutMs: number): Promise<ModbusOutcome> {
    if (this.#isAsking) throw new Error('one request at a time');
    this.#isAsking = true;
    try {
      await this.#untilSilent();
      if (this.#gone !== null) throw this.#gone;
      return await this.#exchange(request, timeoutMs);
    } finally {
      this.#isAsking = false;
    }
  }

  async #exchange(request: ModbusRequest, timeoutMs: number): Promise<ModbusOutcome> {
    const { timers, statistics } = this.#deps;
    const startedAt = timers.now();
    let stopTimer = (): void => undefined;
    let stopGap = (): void => undefined;
    let hasHeard = false;
    statistics.asked();
    try {
      const outcome = await new Promise<ModbusOutcome>((resolve, reject) => {
        const giveUp = (): void => resolve({ type: 'none', isGarbled: hasHeard });
        stopTimer = timers.after(timeoutMs + this.#wireMs(request), giveUp);
        this.#fail = reject;
        this.#heard = (awaited, unexplained) => {
          hasHeard = true;
          if (awaited === 0 || unexplained < awaited) return;
          stopGap();
          stopGap = timers.after(Math.max(leastGapMs, this.#silenceMs), giveUp);
        };
        this.#send(request, (error, answer) => {
          if (error === null) resolve({ type: 'answer', bytes: answer?.buffer ?? nothing });
          else if (error.modbusCode !== undefined) {
            resolve({ type: 'exception', code: error.modbusCode });
          } else resolve({ type: 'none', isGarbled: true });
        });
        this.#lastByteAt = timers.now();
      });
      const ms = timers.now() - startedAt;
      if (outcome.type === 'answer') statistics.answered(ms);
      else if (outcome.type === 'exception') statistics.refused(outcome.code, ms);
      else statistics.unanswered(outcome.isGarbled, ms);
      return outcome;
    } finally {
      stopTimer();
      stopGap();
      this.#heard = () => undefined;
      this.#fail = () => undefined;
      this.#frames.forget();
    }
  }

  /** 3.5 characters, by the standard; that much and no byte of it after an answer that came too late. */
  async #untilSilent(): Promise<void> {
    const { timers, statistics } = this.#deps;
    const latest = timers.now() + mostSilenceMs;
    for (;;) {
      const now = timers.now();
      const leftMs = Math.min(this.#lastByteAt + this.#silenceMs, latest) - now;
      if (leftMs <= 0) break;
      await new Promise<void>((resolve) => {
        timers.after(leftMs, resolve);
      });
    }
    if (this.#hasStrayBytes) statistics.dropped(1);
    this.#hasStrayBytes = false;
  }

  #wireMs(request: ModbusRequest): number {
    const bytes = 'count' in request ? 16 + request.count * 2 : 16 + bytesOf(request);
    return bytes * this.#characterMs;
  }

  #send(request: ModbusRequest, answered: Answered): void {
    const { unit, address } = request;
    // Its types know neither that the answer may be missing nor that the error may be.
    const next = answered as never;
    switch (request.type) {
      case 'read':
        this.#read[readCodes[request.kind]](unit, address, request.count, next);
        break;
      case 'write_coil':
        this.#modbus.writeFC5(unit, address, request.isOn, next);
        break;
      case 'write_coils':
        this.#modbus.writeFC15(unit, address, [...request.values], next);
        break;
      case 'write_register':
        this.#modbus.writeFC6(unit, address, request.bytes.readUInt16BE(), next);
        break;
      case 'write_registers':
        // By its types numbers alone, by its sources and their comments a buffer too.
        this.#modbus.writeFC16(unit, address, request.bytes as never, next);
        break;
      case 'mask_register':
        this.#modbus.writeFC22(unit, address, request.and, request.or, next);
        break;
    }
  }

  readonly #read: Readonly<
    Record<1 | 2 | 3 | 4, (unit: number, address: number, count: number, next: never) => void>
  > = {
    1: (...asked) => this.#modbus.writeFC1(...asked),
    2: (...asked) => this.#modbus.writeFC2(...asked),
    3: (...asked) => this.#modbus.writeFC3(...asked),
    4: (...asked) => this.#modbus.writeFC4(...asked),
  };
}

const bytesOf = (request: ModbusRequest): number => ('bytes' in request ? request.bytes.length : 4);

const nothing: Buffer = Buffer.alloc(0);
