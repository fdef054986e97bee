/** Writes one register as the unit knows how to, and reads it back. Remembers what functions a unit does not know. */
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import {
  exceptionText,
  isRefusal,
  type ModbusOutcome,
  type ReadRequest,
  type WriteRequest,
} from './modbus-request.js';
import type { Register } from './register-map.js';
import { decode, encode, type RegisterValue } from './register-value.js';

export type WriteResult =
  | { readonly type: 'written'; readonly value: RegisterValue }
  /** It will not be otherwise the next time. */
  | { readonly type: 'refused'; readonly reason: string }
  /** `value` is what the unit holds instead, where that is known. */
  | { readonly type: 'failed'; readonly reason: string; readonly value?: RegisterValue };

/** Of a request but its unit. */
export type Ask = (
  request: Omit<ReadRequest, 'unit'> | Unaddressed<WriteRequest>,
) => Promise<ModbusOutcome>;

type Unaddressed<R> = R extends unknown ? Omit<R, 'unit'> : never;

type Plain = Unaddressed<WriteRequest>;

export class RegisterWrites {
  readonly #ask: Ask;
  /** Functions that the unit said it does not have. */
  readonly #unknown = new Set<WriteRequest['type']>();

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  async write(register: Register, value: JsonValue): Promise<WriteResult> {
    const encoded = encode(register, value);
    if (!encoded.ok) return { type: 'refused', reason: encoded.reason };
    const outcome =
      register.type === 'bit'
        ? await this.#writeBit(register, value)
        : await this.#first(requestsFor(register, encoded.bytes));
    if (outcome.type !== 'answer') return explain(outcome);
    // Encoded, it is a value of the register.
    return register.readBack
      ? this.#readBack(register, value as RegisterValue)
      : { type: 'written', value: value as RegisterValue };
  }

  async #readBack(register: Register, value: RegisterValue): Promise<WriteResult> {
    const outcome = await this.#read(register);
    if (outcome.type === 'exception') {
      const reason = `written, but it can't be read: ${exceptionText(outcome.code)}`;
      return { type: 'failed', reason };
    }
    if (outcome.type === 'none') return { type: 'failed', reason: 'written, but not read back' };
    const read = decode(register, outcome.bytes);
    if (!read.ok) return { type: 'failed', reason: `written, but ${read.reason}` };
    if (read.value === value) return { type: 'written', value };
    const reason = `the unit holds ${JSON.stringify(read.value)} after ${JSON.stringify(value)} was written`;
    return { type: 'failed', reason, value: read.value };
  }

  /** By a mask where the unit knows them, so that nothing else in the register changes; else read, changed and written. */
  async #writeBit(register: Register, value: JsonValue): Promise<ModbusOutcome> {
    const mask = maskOf(register);
    const type = 'mask_register';
    if (!this.#unknown.has(type)) {
      const { address } = register;
      const or = value === true ? mask : 0;
      const outcome = await this.#ask({ type, address, and: ~mask & 0xffff, or });
      if (outcome.type !== 'exception' || outcome.code !== 1) return outcome;
      this.#unknown.add(type);
    }
    const before = await this.#read(register);
    if (before.type !== 'answer') return before;
    const encoded = encode(register, value, before.bytes);
    return encoded.ok
      ? this.#first(requestsFor(register, encoded.bytes))
      : { type: 'none', isGarbled: true };
  }

  /** The first of some ways that the unit knows. */
  async #first(requests: readonly Plain[]): Promise<ModbusOutcome> {
    let outcome: ModbusOutcome = { type: 'exception', code: 1 };
    for (const request of requests) {
      if (this.#unknown.has(request.type)) continue;
      outcome = await this.#ask(request);
      if (outcome.type !== 'exception' || outcome.code !== 1) return outcome;
      this.#unknown.add(request.type);
    }
    // It may learn: next time all are tried again.
    for (const { type } of requests) this.#unknown.delete(type);
    return outcome;
  }

  async #read({ kind, address, count }: Register): Promise<ModbusOutcome> {
    const outcome = await this.#ask({ type: 'read', kind, address, count });
    if (outcome.type !== 'answer' || kind !== 'coil') return outcome;
    return { type: 'answer', bytes: Buffer.of((outcome.bytes[0] ?? 0) & 1) };
  }
}

const requestsFor = ({ kind, address, count }: Register, bytes: Buffer): readonly Plain[] => {
  if (kind === 'coil') {
    const isOn = bytes[0] === 1;
    return [
      { type: 'write_coil', address, isOn },
      { type: 'write_coils', address, values: [isOn] },
    ];
  }
  const many: Plain = { type: 'write_registers', address, bytes };
  return count === 1 ? [{ type: 'write_register', address, bytes }, many] : [many];
};

/** A byte-swapped register has its bits there too. */
const maskOf = ({ bit, byteOrder }: Register): number => {
  const isSwapped = byteOrder === 'BADC' || byteOrder === 'DCBA';
  return 1 << (isSwapped ? bit ^ 8 : bit);
};

const explain = (outcome: Exclude<ModbusOutcome, { type: 'answer' }>): WriteResult => {
  if (outcome.type === 'none') return { type: 'failed', reason: 'the unit did not answer' };
  const reason = exceptionText(outcome.code);
  return { type: isRefusal(outcome.code) ? 'refused' : 'failed', reason };
};
