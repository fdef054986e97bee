/** The rows of campaigns, and which sites carry each out. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Kysely, Selectable, Updateable } from 'kysely';
import type { Signals } from '../bus/signals.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';

export type CampaignRow = Selectable<Schema['campaigns']>;
export type ExecutionRow = Selectable<Schema['executions']>;

export interface CampaignRecordDependencies {
  readonly signals: Signals;
  readonly plans: PlanPublisher;
  readonly now: () => number;
}

/** Errors: RESOURCE_NOT_FOUND. */
export const requireCampaign = async (db: Kysely<Schema>, id: string): Promise<CampaignRow> => {
  const row = await db
    .selectFrom('campaigns')
    .selectAll()
    .where('campaign_id', '=', id)
    .executeTakeFirst();
  if (row !== undefined) return row;
  throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no campaign ${id}`, {
    data: { next: 'holdfast campaign list' },
  });
};

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

/** The sites that a campaign names; empty: every site. This program wrote the column. */
export const targetSitesOf = (row: Pick<CampaignRow, 'target_sites'>): readonly string[] =>
  JSON.parse(row.target_sites) as string[];

/** Every site that there is. */
export const allSites = async (db: Kysely<Schema>): Promise<string[]> => {
  const rows = await db.selectFrom('sites').select('site_id').orderBy('site_id').execute();
  return rows.map(({ site_id }) => site_id);
};

/** The sites that carry a campaign out. */
export const sitesOf = async (db: Kysely<Schema>, id: string): Promise<string[]> => {
  const rows = await db
    .selectFrom('campaign_sites')
    .select('site_id')
    .where('campaign_id', '=', id)
    .execute();
  return rows.map(({ site_id }) => site_id);
};

export const joinSites = async (
  { db }: WriteTransaction,
  id: string,
  sites: readonly string[],
): Promise<void> => {
  for (let at = 0; at < sites.length; at += rowsAtOnce) {
    await db
      .insertInto('campaign_sites')
      .values(
        sites
          .slice(at, at + rowsAtOnce)
          .map((site) => ({ campaign_id: id, site_id: site, settled: 0 })),
      )
      .onConflict((c) => c.columns(['campaign_id', 'site_id']).doNothing())
      .execute();
  }
};

const rowsAtOnce = 500;

/** A new site joins the running campaigns that are for every site; to be called in the transaction that makes it. */
export const admitSite = async (tx: WriteTransaction, site: string): Promise<void> => {
  const running = await tx.db
    .selectFrom('campaigns')
    .select('campaign_id')
    .where('state', '=', 'running')
    .where('target_sites', '=', '[]')
    .execute();
  for (const { campaign_id } of running) await joinSites(tx, campaign_id, [site]);
};

/** Nobody waits any longer for a site that goes; to be called in the transaction that deletes it. */
export const releaseSite = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  site: string,
): Promise<void> => {
  const joined = await tx.db
    .deleteFrom('campaign_sites')
    .where('site_id', '=', site)
    .returning('campaign_id')
    .execute();
  for (const { campaign_id } of joined) await endIfSettled(deps, tx, campaign_id);
};

/** Ends a campaign when every site that carries it out has said that it is through. */
export const endIfSettled = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  id: string,
): Promise<void> => {
  const { db } = tx;
  const open = await db
    .selectFrom('campaign_sites')
    .select('site_id')
    .where('campaign_id', '=', id)
    .where('settled', '=', 0)
    .limit(1)
    .executeTakeFirst();
  if (open !== undefined) return;
  const { state } = await requireCampaign(db, id);
  if (state !== 'running' && state !== 'cancelling') return;
  await changeCampaign(deps, tx, id, {
    state: state === 'running' ? 'completed' : 'cancelled',
    ended_at: deps.now(),
  });
  // It leaves the plans.
  await deps.plans.request(tx, await sitesOf(db, id));
};
