/** What a model's registers mean: the maps of a site's configuration, as an installer copies them from the meter's manual. */
import { isSensorName } from '@holdfast/protos/mqtt/device-id';
import * as v from 'valibot';
import { type ByteOrder, byteOrderNames, byteOrders } from './byte-order.js';

export const registerKinds = ['coil', 'discrete', 'holding', 'input'] as const;
export type RegisterKind = (typeof registerKinds)[number];

export const registerTypes = [
  'bool',
  'bit',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'float32',
  'float64',
  'string',
] as const;
export type RegisterType = (typeof registerTypes)[number];

/** In 16-bit registers; a text says its own. */
const sizes: Readonly<Record<Exclude<RegisterType, 'string'>, number>> = {
  bool: 1,
  bit: 1,
  int16: 1,
  uint16: 1,
  int32: 2,
  uint32: 2,
  int64: 4,
  uint64: 4,
  float32: 2,
  float64: 4,
};

/** Leaves of `reported` that are not registers. */
export const refusedLeaf = 'modbus_refused';
export const problemsLeaf = 'modbus_problems';

const number = v.pipe(v.number(), v.finite());
const seconds = v.pipe(number, v.minValue(0.1), v.maxValue(86_400));

const registerEntries = v.strictObject({
  /** Of its telemetry series, and of its leaf in the shadow. */
  name: v.pipe(
    v.string(),
    v.check(isSensorName, 'must be 1 to 64 of [A-Za-z0-9_.:-]'),
    v.check(
      (name) => name !== refusedLeaf && name !== problemsLeaf,
      'is what the gateway itself calls a leaf',
    ),
  ),
  kind: v.picklist(registerKinds, `must be one of ${registerKinds.join(', ')}`),
  /** As it travels, from 0: what manuals call 40001 is `kind: holding, address: 0`. */
  address: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(65_535)),
  type: v.exactOptional(v.picklist(registerTypes, `must be one of ${registerTypes.join(', ')}`)),
  /** Of a bit: which one, 0 being the least. */
  bit: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(15))),
  /** Of a text: how many registers it takes. */
  registers: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100))),
  byteOrder: v.optional(
    v.picklist(
      [...byteOrders, ...byteOrderNames.keys()],
      `must be one of ${[...byteOrders, ...byteOrderNames.keys()].join(', ')}`,
    ),
    'ABCD',
  ),
  /** A value is what the register holds, times the scale, plus the offset. */
  scale: v.optional(
    v.pipe(
      number,
      v.check((scale) => scale !== 0, 'must not be 0'),
    ),
    1,
  ),
  offset: v.optional(number, 0),
  unit: v.optional(v.pipe(v.string(), v.maxLength(32)), ''),
  pollS: v.optional(seconds, 10),
  /** A value that differs by no more from the last that was sent is not sent. */
  deadBand: v.optional(v.pipe(number, v.minValue(0)), 0),
  /** After so long it is sent anyway; 0: never. */
  atLeastEveryS: v.optional(v.pipe(number, v.minValue(0), v.maxValue(604_800)), 900),
  /** What the register holds, before scale and offset, when there is no value. */
  notAvailable: v.optional(v.pipe(v.array(v.pipe(v.number(), v.integer())), v.maxLength(8)), []),
  writable: v.optional(v.boolean(), false),
  minimum: v.exactOptional(number),
  maximum: v.exactOptional(number),
  /** Whether a unit keeps what is written; a register that starts something and falls back does not. */
  readBack: v.optional(v.boolean(), true),
  /** Shows in `reported` too; one that is writable always does. */
  reported: v.optional(v.boolean(), false),
  /** A series of telemetry; without it, a leaf of `reported` alone. */
  telemetry: v.optional(v.boolean(), true),
});

type RegisterEntries = v.InferOutput<typeof registerEntries>;

/** A register of a map, with what it does not say filled in. */
export interface Register
  extends Omit<RegisterEntries, 'type' | 'bit' | 'registers' | 'byteOrder'> {
  readonly type: RegisterType;
  readonly byteOrder: ByteOrder;
  readonly bit: number;
  /** How many coils or registers it takes. */
  readonly count: number;
}

const isBitKind = (kind: RegisterKind): boolean => kind === 'coil' || kind === 'discrete';

const whyWrong = (register: RegisterEntries): string | undefined => {
  const { name, kind, address, type, bit, registers, writable, minimum, maximum } = register;
  if (isBitKind(kind) && type !== undefined && type !== 'bool') {
    return `${name}: a ${kind} is a bool, not a ${type}`;
  }
  if ((type === 'bit') !== (bit !== undefined)) return `${name}: type bit and bit go together`;
  if ((type === 'string') !== (registers !== undefined)) {
    return `${name}: type string and registers go together`;
  }
  if (address + countOf(register) > 65_536) return `${name}: it goes beyond address 65535`;
  if (writable && (kind === 'discrete' || kind === 'input')) {
    return `${name}: nothing can be written to ${kind === 'input' ? 'an input register' : 'a discrete input'}`;
  }
  if ((minimum !== undefined || maximum !== undefined) && !(writable && isNumber(register))) {
    return `${name}: minimum and maximum are for numbers that are writable`;
  }
  if (minimum !== undefined && maximum !== undefined && minimum > maximum) {
    return `${name}: the minimum is above the maximum`;
  }
  if (!isNumber(register)) {
    if (register.scale !== 1 || register.offset !== 0 || register.deadBand !== 0) {
      return `${name}: scale, offset and deadBand are for numbers`;
    }
    if (register.notAvailable.length > 0) return `${name}: notAvailable is for numbers`;
  }
  if (!writable && !register.reported && !register.telemetry) {
    return `${name}: it is neither telemetry nor reported`;
  }
  return undefined;
};

const typeOf = ({ kind, type }: Pick<RegisterEntries, 'kind' | 'type'>): RegisterType =>
  type ?? (isBitKind(kind) ? 'bool' : 'uint16');

const isNumber = (register: RegisterEntries): boolean => {
  const type = typeOf(register);
  return type !== 'bool' && type !== 'bit' && type !== 'string';
};

const countOf = (register: RegisterEntries): number => {
  const type = typeOf(register);
  return type === 'string' ? (register.registers ?? 1) : sizes[type];
};

export const registerSchema = v.pipe(
  registerEntries,
  v.check(
    (register) => whyWrong(register) === undefined,
    ({ input }) => whyWrong(input as RegisterEntries) ?? '',
  ),
);

export const registerMapSchema = v.strictObject({
  /** What units call it by. */
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  /** The model of its devices. */
  model: v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
  registers: v.pipe(
    v.array(registerSchema),
    v.minLength(1, 'must name a register'),
    v.maxLength(1_000),
    v.check(
      (registers) => new Set(registers.map(({ name }) => name)).size === registers.length,
      'must not name two registers alike',
    ),
  ),
  /** Registers that nobody asked for are read along where that saves a request: so many in a row at most. */
  mostGap: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(100)), 8),
  /** Registers in one request; what the unit takes, where it takes less than the standard's 125. */
  mostRegisters: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(125)), 125),
});

/** As a configuration has it. */
export type RegisterMapEntries = v.InferOutput<typeof registerMapSchema>;
export type RegisterMapInput = v.InferInput<typeof registerMapSchema>;

export interface RegisterMap extends Omit<RegisterMapEntries, 'registers'> {
  readonly registers: readonly Register[];
}

export const readMap = ({ registers, ...map }: RegisterMapEntries): RegisterMap => ({
  ...map,
  registers: registers.map((entries): Register => {
    const { type: _type, bit = 0, registers: _registers, byteOrder, ...rest } = entries;
    // Either it has a name or it is one, as the schema says.
    const order = byteOrderNames.get(byteOrder) ?? (byteOrder as ByteOrder);
    return { ...rest, byteOrder: order, type: typeOf(entries), bit, count: countOf(entries) };
  }),
});
