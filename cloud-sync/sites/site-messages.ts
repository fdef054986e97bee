/** Sites as the API shows them. */
import type { Gateway, PlanStatus, Site } from '@holdfast/protos/gen/holdfast/v1/sites';
import type { Kysely, Selectable } from 'kysely';
import { siteName } from '../api/resource-name.js';
import type { Schema } from '../store/schema.js';

export type SiteRow = Selectable<Schema['sites']>;

export interface SiteMessageDependencies {
  readonly db: Kysely<Schema>;
  readonly isConnected: (site: string) => boolean;
}

/** With a query for all of them each, however many sites there are. */
export const siteMessages = async (
  { db, isConnected }: SiteMessageDependencies,
  rows: readonly SiteRow[],
): Promise<Site[]> => {
  const ids = rows.map(({ site_id }) => site_id);
  if (ids.length === 0) return [];
  const plans = await db.selectFrom('plans').selectAll().where('site_id', 'in', ids).execute();
  const positions = await db
    .selectFrom('lane_positions')
    .select(['site_id', 'lane', 'seq'])
    .where('site_id', 'in', ids)
    .orderBy('updated_at')
    .execute();
  const planOf = new Map(plans.map((plan) => [plan.site_id, plan]));
  // A lane goes on under a new log now and then: the one that was written to last counts.
  const seqOf = new Map(positions.map(({ site_id, lane, seq }) => [`${site_id}/${lane}`, seq]));
  return rows.map((row) => ({
    name: siteName(row.site_id),
    displayName: row.display_name,
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
    etag: String(row.version),
    gateway: gatewayMessage(row, isConnected(row.site_id), (lane) =>
      BigInt(seqOf.get(`${row.site_id}/${lane}`) ?? 0),
    ),
    plan: planMessage(planOf.get(row.site_id)),
    deviceCount: BigInt(row.device_count),
  }));
};

const gatewayMessage = (
  row: SiteRow,
  connected: boolean,
  seq: (lane: string) => bigint,
): Gateway | undefined => {
  if (row.gateway_id === null) return undefined;
  return {
    gatewayId: row.gateway_id,
    epoch: BigInt(row.epoch),
    connected,
    lastContactTime: optionalDate(row.last_contact_at),
    version: row.gateway_version ?? '',
    enrollTime: optionalDate(row.gateway_enrolled_at),
    cloneSuspected: row.clone_suspected === 1,
    auditSeq: seq('audit'),
    stateSeq: seq('state'),
    telemetrySeq: seq('telemetry'),
  };
};

const planMessage = (plan: Selectable<Schema['plans']> | undefined): PlanStatus | undefined =>
  plan && {
    generation: BigInt(plan.generation),
    revision: BigInt(plan.revision),
    appliedRevision:
      plan.applied_generation === plan.generation ? BigInt(plan.applied_revision) : 0n,
    refusedCode: plan.refused_code ?? '',
    refusedMessage: plan.refused_message ?? '',
  };

export const optionalDate = (epochMs: number | null): Date | undefined =>
  epochMs === null ? undefined : new Date(epochMs);
