/** What is asked of a unit, and what came of it. */
import type { RegisterKind } from './register-map.js';

export type ModbusRequest = ReadRequest | WriteRequest;

export interface ReadRequest {
  readonly type: 'read';
  readonly unit: number;
  readonly kind: RegisterKind;
  readonly address: number;
  readonly count: number;
}

export type WriteRequest = {
  readonly unit: number;
  readonly address: number;
} & (
  | { readonly type: 'write_coil'; readonly isOn: boolean }
  | { readonly type: 'write_coils'; readonly values: readonly boolean[] }
  /** Two bytes. */
  | { readonly type: 'write_register'; readonly bytes: Buffer }
  | { readonly type: 'write_registers'; readonly bytes: Buffer }
  | { readonly type: 'mask_register'; readonly and: number; readonly or: number }
);

export type ModbusOutcome =
  /** The registers or coils as they came; empty of a write. */
  | { readonly type: 'answer'; readonly bytes: Buffer }
  | { readonly type: 'exception'; readonly code: number }
  /** Nothing came in time, or nothing that is an answer. */
  | { readonly type: 'none'; readonly isGarbled: boolean };

export const readCodes: Readonly<Record<RegisterKind, 1 | 2 | 3 | 4>> = {
  coil: 1,
  discrete: 2,
  holding: 3,
  input: 4,
};

const exceptions: ReadonlyMap<number, string> = new Map([
  [1, 'illegal function'],
  [2, 'illegal data address'],
  [3, 'illegal data value'],
  [4, 'the unit failed'],
  [5, 'acknowledged, under way'],
  [6, 'the unit is busy'],
  [7, 'negative acknowledge'],
  [8, 'memory parity error'],
  [10, 'the converter has no way to the unit'],
  [11, 'the unit behind the converter does not answer'],
]);

/** As `exception 2 (illegal data address)`. */
export const exceptionText = (code: number): string => {
  const meaning = exceptions.get(code);
  return meaning === undefined ? `exception ${code}` : `exception ${code} (${meaning})`;
};

/** Said by a converter, about a unit that did not answer. */
export const isFromConverter = (code: number): boolean => code === 10 || code === 11;

/** The unit does not know what it was asked for: asking again changes nothing. */
export const isRefusal = (code: number): boolean => code === 1 || code === 2 || code === 3;
