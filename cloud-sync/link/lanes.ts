/** Lanes and positions between the wire and the store. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { Lane, type LanePosition } from '@holdfast/protos/gen/holdfast/v1/link';
import type { LaneName } from '@holdfast/protos/link/journal-entries';
import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.js';

/** How far a log is committed; `seq` 0 with an empty chain before the first. */
export interface CommittedPosition {
  readonly seq: number;
  readonly chain: Uint8Array;
}

export const laneNames: readonly LaneName[] = ['audit', 'state', 'telemetry'];

const lanes: Readonly<Record<LaneName, Lane>> = {
  audit: Lane.LANE_AUDIT,
  state: Lane.LANE_STATE,
  telemetry: Lane.LANE_TELEMETRY,
};

export const laneOf = (name: LaneName): Lane => lanes[name];

/** Errors: REQUEST_INVALID. */
export const laneNameOf = (lane: Lane): LaneName => {
  const name = laneNames.find((candidate) => lanes[candidate] === lane);
  if (name === undefined) throw new HoldfastError('REQUEST_INVALID', `there is no lane ${lane}`);
  return name;
};

/** Errors: REQUEST_INVALID. */
export const requireLog = (log: string): string => {
  if (/^[0-9a-f]{32}$/.test(log)) return log;
  throw new HoldfastError('REQUEST_INVALID', 'the name of a log is 128 bits in hexadecimal');
};

/** A number from the wire that is counted with here. Errors: REQUEST_INVALID. */
export const requireCount = (value: bigint, what: string): number => {
  if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new HoldfastError('REQUEST_INVALID', `${what} is out of range`);
};

/** Errors: REQUEST_INVALID for a chain that is neither a SHA-256 nor empty. */
export const requireChain = (chain: Uint8Array): Uint8Array => {
  if (chain.length === 0 || chain.length === 32) return chain;
  throw new HoldfastError('REQUEST_INVALID', 'a hash chain is a SHA-256');
};

/** A position as the wire has it. */
export const lanePosition = (
  lane: LaneName,
  log: string,
  { seq, chain }: CommittedPosition,
): LanePosition => ({ lane: laneOf(lane), log, seq: BigInt(seq), chain: Buffer.from(chain) });

export const readPosition = async (
  db: Kysely<Schema>,
  { site, lane, log }: { readonly site: string; readonly lane: LaneName; readonly log: string },
): Promise<CommittedPosition> => {
  const row = await db
    .selectFrom('lane_positions')
    .select(['seq', 'chain'])
    .where('site_id', '=', site)
    .where('lane', '=', lane)
    .where('log', '=', log)
    .executeTakeFirst();
  return { seq: row?.seq ?? 0, chain: Buffer.from(row?.chain ?? '', 'hex') };
};
