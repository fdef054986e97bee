/**
 * What stands in a register as a value, and a value as what to write into it. Pure.
 *
 * Integers of 64 bits that a number can't hold are texts of decimal digits, both ways. What can't be written so that the same value would be
 * read again is refused, rather than rounded behind the back of whoever wrote it.
 */
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { reorder } from './byte-order.js';
import type { Register } from './register-map.js';

export type RegisterValue = boolean | number | string;

export type Read =
  | { readonly ok: true; readonly value: RegisterValue }
  /** The register holds nothing that is a value. */
  | { readonly ok: false; readonly reason: string };

export type Encoded =
  | { readonly ok: true; readonly bytes: Buffer }
  | { readonly ok: false; readonly reason: string };

/** From the bytes as they came: two for each register, or for a coil one that is 0 or 1. */
export const decode = (register: Register, bytes: Buffer): Read => {
  const { type, kind } = register;
  if (kind === 'coil' || kind === 'discrete') return { ok: true, value: bytes[0] === 1 };
  const ordered = reorder(bytes, register.byteOrder);
  switch (type) {
    case 'bool':
      return { ok: true, value: ordered.readUInt16BE() !== 0 };
    case 'bit':
      return { ok: true, value: (ordered.readUInt16BE() & (1 << register.bit)) !== 0 };
    case 'string':
      return readText(reorderText(bytes, register));
    case 'float32':
    case 'float64':
      return readFloat(register, ordered);
    default:
      return readInteger(register, readRaw(type, ordered));
  }
};

/** To the bytes as they go; `before` is what the register holds, for a bit of it. */
export const encode = (register: Register, value: JsonValue, before?: Buffer): Encoded => {
  const wrong = whyRefused(register, value);
  if (wrong !== undefined) return { ok: false, reason: wrong };
  if (register.kind === 'coil') return { ok: true, bytes: Buffer.of(value === true ? 1 : 0) };
  const encoded = write(register, value as RegisterValue, before);
  if (!encoded.ok) return encoded;
  const again = decode(register, encoded.bytes);
  if (again.ok && again.value === value) return encoded;
  return {
    ok: false,
    reason: `the register can't hold ${JSON.stringify(value)}${again.ok ? `, but ${JSON.stringify(again.value)}` : `: ${again.reason}`}`,
  };
};

type IntegerType = Exclude<Register['type'], 'bool' | 'bit' | 'string' | 'float32' | 'float64'>;

const readRaw = (type: IntegerType, bytes: Buffer): bigint => {
  switch (type) {
    case 'int16':
      return BigInt(bytes.readInt16BE());
    case 'uint16':
      return BigInt(bytes.readUInt16BE());
    case 'int32':
      return BigInt(bytes.readInt32BE());
    case 'uint32':
      return BigInt(bytes.readUInt32BE());
    case 'int64':
      return bytes.readBigInt64BE();
    case 'uint64':
      return bytes.readBigUInt64BE();
  }
};

const readInteger = ({ scale, offset, notAvailable }: Register, raw: bigint): Read => {
  if (notAvailable.some((none) => BigInt(none) === raw)) {
    return { ok: false, reason: `it is ${raw}, which stands for no value` };
  }
  const isPlain = scale === 1 && offset === 0;
  if (isPlain && !isSafe(raw)) return { ok: true, value: raw.toString() };
  return { ok: true, value: isPlain ? Number(raw) : tidy(Number(raw) * scale + offset) };
};

const readFloat = ({ type, scale, offset, notAvailable }: Register, bytes: Buffer): Read => {
  const raw = type === 'float32' ? shortest(bytes.readFloatBE()) : bytes.readDoubleBE();
  if (!Number.isFinite(raw)) return { ok: false, reason: `it is ${notANumber(raw)}` };
  if (notAvailable.includes(raw)) {
    return { ok: false, reason: `it is ${raw}, which stands for no value` };
  }
  const isPlain = scale === 1 && offset === 0;
  return { ok: true, value: isPlain ? raw + 0 : tidy(raw * scale + offset) };
};

const notANumber = (raw: number): string => (Number.isNaN(raw) ? 'not a number' : 'infinite');

/** Up to the first NUL, without blanks at its ends. */
const readText = (bytes: Buffer): Read => {
  const end = bytes.indexOf(0);
  const text = bytes
    .subarray(0, end === -1 ? bytes.length : end)
    .toString('latin1')
    .trim();
  return /^[\x20-\x7e\xa0-\xff]*$/.test(text)
    ? { ok: true, value: text }
    : { ok: false, reason: 'it is no text' };
};

/** A text has no words to swap, only the two characters of a register. */
const reorderText = (bytes: Buffer, { byteOrder }: Register): Buffer =>
  byteOrder === 'BADC' || byteOrder === 'DCBA' ? reorder(bytes, 'BADC') : bytes;

const whyRefused = (register: Register, value: JsonValue): string | undefined => {
  const { type, minimum, maximum, unit } = register;
  const said = JSON.stringify(value)?.slice(0, 40);
  if (type === 'bool' || type === 'bit') {
    return typeof value === 'boolean' ? undefined : `${said} is neither true nor false`;
  }
  if (type === 'string') return typeof value === 'string' ? undefined : `${said} is no text`;
  const isLong = type === 'int64' || type === 'uint64';
  if (isLong && typeof value === 'string' && /^-?\d{1,20}$/.test(value)) {
    return whyOutOfRange(Number(value), minimum, maximum, unit);
  }
  if (typeof value !== 'number' || !Number.isFinite(value)) return `${said} is no number`;
  return whyOutOfRange(value, minimum, maximum, unit);
};

const whyOutOfRange = (
  value: number,
  minimum: number | undefined,
  maximum: number | undefined,
  unit: string,
): string | undefined => {
  const isBelow = minimum !== undefined && value < minimum;
  if (!isBelow && (maximum === undefined || value <= maximum)) return undefined;
  const of = unit === '' ? '' : ` ${unit}`;
  return `${value} is out of range: ${minimum ?? 'any'} to ${maximum ?? 'any'}${of}`;
};

const write = (register: Register, value: RegisterValue, before: Buffer | undefined): Encoded => {
  const { type, byteOrder, scale, offset } = register;
  const bytes = Buffer.alloc(register.count * 2);
  if (typeof value === 'boolean') {
    const word = before === undefined ? 0 : reorder(before, byteOrder).readUInt16BE();
    const mask = type === 'bit' ? 1 << register.bit : 1;
    bytes.writeUInt16BE(type === 'bit' ? (value ? word | mask : word & ~mask) : Number(value));
    return { ok: true, bytes: reorder(bytes, byteOrder) };
  }
  if (type === 'string') {
    if (Buffer.byteLength(String(value), 'latin1') > bytes.length) {
      return { ok: false, reason: `the text is longer than ${bytes.length} characters` };
    }
    bytes.write(String(value), 'latin1');
    return { ok: true, bytes: reorderText(bytes, register) };
  }
  const isPlain = scale === 1 && offset === 0;
  if (type === 'float32' || type === 'float64') {
    const raw = isPlain ? Number(value) : (Number(value) - offset) / scale;
    if (type === 'float32') bytes.writeFloatBE(raw);
    else bytes.writeDoubleBE(raw);
    return { ok: true, bytes: reorder(bytes, byteOrder) };
  }
  const isExact = isPlain && (typeof value === 'string' || Number.isSafeInteger(value));
  const scaled = Math.round((Number(value) - offset) / scale);
  const [least, most] = ranges[type as IntegerType];
  const raw = isExact ? BigInt(value) : Number.isFinite(scaled) ? BigInt(scaled) : most + 1n;
  if (raw < least || raw > most) {
    return { ok: false, reason: `${value} does not fit into ${type}` };
  }
  const unsigned = BigInt.asUintN(bytes.length * 8, raw);
  bytes.write(unsigned.toString(16).padStart(bytes.length * 2, '0'), 'hex');
  return { ok: true, bytes: reorder(bytes, byteOrder) };
};

const signed = (bits: bigint): readonly [bigint, bigint] => [
  -(1n << (bits - 1n)),
  (1n << (bits - 1n)) - 1n,
];
const unsigned = (bits: bigint): readonly [bigint, bigint] => [0n, (1n << bits) - 1n];

const ranges: Readonly<Record<IntegerType, readonly [least: bigint, most: bigint]>> = {
  int16: signed(16n),
  uint16: unsigned(16n),
  int32: signed(32n),
  uint32: unsigned(32n),
  int64: signed(64n),
  uint64: unsigned(64n),
};

const isSafe = (raw: bigint): boolean =>
  raw <= BigInt(Number.MAX_SAFE_INTEGER) && raw >= BigInt(Number.MIN_SAFE_INTEGER);

/** Without the dust of binary fractions: 2301 × 0.1 is 230.1. */
const tidy = (value: number): number => Number(value.toPrecision(14)) + 0;

/** The shortest number that is the same in single precision: 230.1, not 230.10000610351562. */
const shortest = (single: number): number => {
  if (!Number.isFinite(single)) return single;
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(single.toPrecision(digits));
    if (Math.fround(short) === single) return short;
  }
  return Number(single.toPrecision(9));
};
