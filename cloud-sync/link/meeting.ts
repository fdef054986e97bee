/** What is decided when a gateway says hello: whether it owns its site, and where journal, plan and orders stand between the two. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { GatewayHello } from '@holdfast/protos/gen/holdfast/v1/link';
import type { LaneName } from '@holdfast/protos/link/journal-entries';
import type { CertificateIdentity } from '@holdfast/provisioning/pki/verify';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import type { GatewayIdentity } from './gateway-identity.js';
import { noteContact } from './journal-ingest.js';
import {
  type CommittedPosition,
  laneNameOf,
  readPosition,
  requireChain,
  requireCount,
  requireLog,
} from './lanes.js';
import type { OrderLane, Orders } from './orders.js';

export interface Hello {
  readonly epoch: number;
  readonly bootId: string;
  readonly version: string;
  readonly journal: readonly NamedPosition[];
  /** `chain` is hexadecimal. */
  readonly orders: { readonly log: string; readonly seq: number; readonly chain: string };
  readonly plan: { readonly generation: number; readonly revision: number };
  readonly windowBytes: number;
}

export interface NamedPosition extends CommittedPosition {
  readonly lane: LaneName;
  readonly log: string;
}

export interface LaneMeeting extends NamedPosition {
  /** Set when what the gateway has is not what was committed from it: its lane goes on under a new log. */
  readonly resetReason: string | undefined;
}

export interface MeetingDependencies {
  readonly engine: SqlEngine;
  readonly orders: Orders;
  readonly plans: PlanPublisher;
  readonly now: () => number;
}

const mostPositions = 16;

/** Errors: REQUEST_INVALID. */
export const parseHello = (hello: GatewayHello): Hello => {
  if (hello.bootId === '' || hello.bootId.length > 128 || hello.version.length > 128) {
    throw new HoldfastError('REQUEST_INVALID', 'boot_id or version of the hello is malformed');
  }
  if (hello.journal.length > mostPositions || hello.ordersLog.length > 128) {
    throw new HoldfastError('REQUEST_INVALID', 'the hello names too many positions');
  }
  return {
    epoch: requireCount(hello.epoch, 'epoch'),
    bootId: hello.bootId,
    version: hello.version,
    journal: hello.journal.map(({ lane, log, seq, chain }) => ({
      lane: laneNameOf(lane),
      log: requireLog(log),
      seq: requireCount(seq, 'seq'),
      chain: requireChain(chain),
    })),
    orders: {
      log: hello.ordersLog,
      seq: requireCount(hello.ordersSeq, 'orders_seq'),
      chain: Buffer.from(requireChain(hello.ordersChain)).toString('hex'),
    },
    plan: {
      generation: requireCount(hello.planGeneration, 'plan_generation'),
      revision: requireCount(hello.planRevision, 'plan_revision'),
    },
    windowBytes: hello.windowBytes,
  };
};

/**
 * The gateway that a verified certificate belongs to. Errors: NOT_AUTHORISED for one that was revoked or never recorded here, as
 * after a restore of this database: an epoch that is not on record could be claimed by anybody it was once taken from.
 */
export const recognise = async (
  { engine }: Pick<MeetingDependencies, 'engine'>,
  identity: CertificateIdentity,
): Promise<GatewayIdentity> => {
  const row = await engine.read
    .selectFrom('certificates')
    .select(['site_id', 'gateway_id', 'epoch', 'revoked_at'])
    .where('serial', '=', identity.serial)
    .where('role', '=', 'gateway')
    .executeTakeFirst();
  if (row === undefined || row.site_id !== identity.site || row.gateway_id !== identity.name) {
    throw new HoldfastError(
      'NOT_AUTHORISED',
      'This certificate is not on record here. If the control plane was restored from a backup, enrol the gateway again with a new code',
    );
  }
  if (row.revoked_at !== null) {
    throw new HoldfastError('NOT_AUTHORISED', 'This gateway certificate is revoked');
  }
  return { site: row.site_id, gateway: row.gateway_id, epoch: row.epoch };
};

/** Why a gateway is not, or no longer, the one of its site; undefined when it is. */
export const fencedReason = async (
  { engine }: Pick<MeetingDependencies, 'engine'>,
  { site, gateway, epoch }: GatewayIdentity,
): Promise<HoldfastError | undefined> => {
  const row = await engine.read
    .selectFrom('sites')
    .select(['epoch', 'gateway_id'])
    .where('site_id', '=', site)
    .executeTakeFirst();
  if (row === undefined) {
    return new HoldfastError('NOT_AUTHORISED', `There is no site ${site} any more`);
  }
  if (row.epoch === epoch && row.gateway_id === gateway) return undefined;
  return new HoldfastError(
    'GATEWAY_FENCED',
    `Another gateway owns the site ${site} since epoch ${row.epoch}; this one has epoch ${epoch}`,
    { data: { epoch, current: row.epoch } },
  );
};

/** Compares the lanes that the gateway named with what is committed of them. */
export const meetLanes = async (
  { engine }: Pick<MeetingDependencies, 'engine'>,
  site: string,
  named: readonly NamedPosition[],
): Promise<LaneMeeting[]> => {
  const meetings: LaneMeeting[] = [];
  for (const { lane, log, seq, chain } of named) {
    const committed = await readPosition(engine.read, { site, lane, log });
    let resetReason: string | undefined;
    if (seq < committed.seq) {
      resetReason = `the gateway stands at ${seq}, and ${committed.seq} is committed here`;
    } else if (seq === committed.seq && Buffer.compare(chain, committed.chain) !== 0) {
      resetReason = `at ${seq} the two differ`;
    }
    meetings.push({ lane, log, ...committed, resetReason });
  }
  return meetings;
};

/** Commits what the hello says of the gateway, its plan and its orders. Returns where the orders go on. */
export const meet = (
  { engine, orders, plans, now }: MeetingDependencies,
  { site }: GatewayIdentity,
  hello: Hello,
): Promise<OrderLane> =>
  engine.write(async (tx: WriteTransaction) => {
    await noteContact(tx, site, now());
    await tx.db
      .updateTable('sites')
      .set({ gateway_version: hello.version })
      .where('site_id', '=', site)
      .execute();
    await plans.meet(tx, site, hello.plan);
    return orders.meet(tx, site, hello.orders);
  });
