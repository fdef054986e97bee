/** The rows of campaigns, and what ends one. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Kysely, Selectable, Updateable } from 'kysely';
import { recordAudit } from '../audit/audit-log.js';
import type { Signals } from '../bus/signals.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import { targetOfRow } from './campaign-row.js';
import { joinSites, sitesOf } from './campaign-sites.js';

export type CampaignRow = Selectable<Schema['campaigns']>;
export type ExecutionRow = Selectable<Schema['executions']>;

export interface CampaignRecordDependencies {
  readonly signals: Signals;
  readonly plans: PlanPublisher;
  readonly now: () => number;
}

/** Not over: what they name has to stay. */
export const liveStates = ['draft', 'scheduled', 'running', 'paused', 'cancelling'] as const;
/** In the plans of their sites. */
export const plannedStates = ['scheduled', 'running', 'paused', 'cancelling'] as const;

export const campaignName = (campaign: string): string => `campaigns/${campaign}`;

/** Errors: RESOURCE_NOT_FOUND. */
export const requireCampaign = async (db: Kysely<Schema>, id: string): Promise<CampaignRow> => {
  const row = await findCampaign(db, id);
  if (row !== undefined) return row;
  throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no campaign ${id}`, {
    data: { next: 'holdfast campaign list' },
  });
};

export const findCampaign = (db: Kysely<Schema>, id: string): Promise<CampaignRow | undefined> =>
  db.selectFrom('campaigns').selectAll().where('campaign_id', '=', id).executeTakeFirst();

/** Changes a campaign in anything but its counters; who watches hears of it. */
export const changeCampaign = async (
  { signals }: Pick<CampaignRecordDependencies, 'signals'>,
  tx: WriteTransaction,
  id: string,
  set: Updateable<Schema['campaigns']>,
): Promise<void> => {
  await tx.db
    .updateTable('campaigns')
    .set((eb) => ({ ...set, version: eb('version', '+', 1) }))
    .where('campaign_id', '=', id)
    .execute();
  tx.afterCommit(() => signals.publish(`campaign:${id}`));
};

/**
 * A new site joins the campaigns that are for every site and for devices that come later; to be called in the transaction that makes it.
 * One that is for groups comes with their members.
 */
export const admitSite = async (tx: WriteTransaction, site: string): Promise<void> => {
  const started = await tx.db
    .selectFrom('campaigns')
    .selectAll()
    .where('state', 'in', ['scheduled', 'running', 'paused'])
    .where('target_sites', '=', '[]')
    .execute();
  for (const row of started) {
    const { late_joiners: isOpen, groups, device_ids: devices } = targetOfRow(row);
    if (isOpen && groups.length === 0 && devices.length === 0) {
      await joinSites(tx, row.campaign_id, [site]);
    }
  }
};

/** Ends a campaign when every site that carries it out has said that it is through. */
export const endIfSettled = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  id: string,
): Promise<void> => {
  const { state, site_count, settled_count } = await requireCampaign(tx.db, id);
  if (settled_count < site_count) return;
  if (state !== 'running' && state !== 'paused' && state !== 'cancelling') return;
  const isCancelled = state === 'cancelling';
  await changeCampaign(deps, tx, id, {
    state: isCancelled ? 'cancelled' : 'completed',
    ended_at: deps.now(),
  });
  if (!isCancelled) {
    await recordAudit(tx, deps.now(), {
      action: 'campaign.completed',
      actor: 'cloud',
      resource: campaignName(id),
    });
  }
  // It leaves the plans.
  await deps.plans.request(tx, await sitesOf(tx.db, id));
};
