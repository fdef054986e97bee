/** What some registers could mean: every type in every order of bytes, for whoever has a meter and no manual. Pure. */
import { type ByteOrder, byteOrders } from './byte-order.js';
import type { Register, RegisterType } from './register-map.js';
import { decode, type RegisterValue } from './register-value.js';

export interface Reading {
  readonly type: RegisterType;
  readonly byteOrder: ByteOrder;
  /** Null where it is no value of the type. */
  readonly value: RegisterValue | null;
}

const ofOne: readonly RegisterType[] = ['uint16', 'int16'];
const ofTwo: readonly RegisterType[] = ['uint32', 'int32', 'float32'];
const ofFour: readonly RegisterType[] = ['uint64', 'int64', 'float64'];

/** Of the first of them, and as far as there are enough. */
export const possibleReadings = (bytes: Buffer): readonly Reading[] => {
  const readings: Reading[] = [];
  const add = (type: RegisterType, count: number, orders: readonly ByteOrder[]): void => {
    if (bytes.length < count * 2) return;
    const part = bytes.subarray(0, count * 2);
    for (const byteOrder of orders) {
      const read = decode(registerOf(type, byteOrder, count), part);
      readings.push({ type, byteOrder, value: read.ok ? read.value : null });
    }
  };
  // One register has no words to swap.
  for (const type of ofOne) add(type, 1, ['ABCD', 'BADC']);
  for (const type of ofTwo) add(type, 2, byteOrders);
  for (const type of ofFour) add(type, 4, byteOrders);
  add('string', bytes.length / 2, ['ABCD', 'BADC']);
  return readings;
};

const registerOf = (type: RegisterType, byteOrder: ByteOrder, count: number): Register => ({
  ...plain,
  type,
  byteOrder,
  count,
});

const plain: Omit<Register, 'type' | 'byteOrder' | 'count'> = {
  ...{ name: 'reading', kind: 'holding', address: 0, bit: 0, scale: 1, offset: 0, unit: '' },
  ...{ pollS: 1, deadBand: 0, atLeastEveryS: 0, notAvailable: [], writable: false },
  ...{ readBack: true, reported: false, telemetry: true },
};
