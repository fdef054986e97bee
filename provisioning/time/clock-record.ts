/** What is kept of the clock between two starts: the floor, and what this boot of the machine knows. */
import { messageOf } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import { openRecord, type StoredRecord } from '../storage/record.js';
import type { StoreLog } from '../storage/store.js';
import type { ClockState } from './clock-trust.js';

const finite = v.pipe(v.number(), v.finite());
const schema = v.object({
  /** Epoch ms. */
  floor: finite,
  /** The build that the floor was at least as late as: signed time may have lowered it since. null before the first start. */
  built: v.nullable(finite),
  boot: v.nullable(
    v.object({
      id: v.string(),
      source: v.nullable(v.picklist(['rtc', 'ntp', 'signed', 'operator'])),
      doubt: v.nullable(v.picklist(['jumped', 'long_off', 'contradicted'])),
      origin: finite,
      offset: finite,
      errorMs: finite,
      told: v.nullable(finite),
    }),
  ),
});
export type ClockRecord = v.InferOutput<typeof schema>;

export const emptyClockRecord: ClockRecord = { floor: 0, built: null, boot: null };

/** A record that is lost costs the floor that it held, never the start. */
export const openClockRecord = async (
  path: string,
  log: StoreLog,
): Promise<StoredRecord<ClockRecord>> => {
  try {
    return await openRecord({ path, parse: v.parser(schema), initial: emptyClockRecord, log });
  } catch (error) {
    log.error({ path, reason: messageOf(error) }, 'the record of the clock is lost');
    let data = emptyClockRecord;
    return {
      get data() {
        return data;
      },
      update: async (change) => {
        data = change(data);
      },
    };
  }
};

/** The floor to begin with: what was stored, raised by a newer build and by what is known otherwise. */
export const floorOf = (record: ClockRecord, builtMs: number, knownMs: number): number => {
  // As a whole: signed time that has lowered the floor has lowered what the same build says, too.
  if (record.built === builtMs) return record.floor;
  return Math.max(record.floor, builtMs, knownMs);
};

export const recordOf = (state: ClockState, builtMs: number, boot: string): ClockRecord => {
  const { floor, source, doubt, origin, offset, errorMs, told } = state;
  return {
    floor,
    built: builtMs,
    boot: { id: boot, source, doubt, origin, offset, errorMs, told },
  };
};
