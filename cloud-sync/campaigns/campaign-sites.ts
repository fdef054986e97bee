/** Which sites carry a campaign out and where each stands; the campaign's own row counts them, so that nobody has to. */
import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';

export type CampaignSiteRow = Selectable<Schema['campaign_sites']>;

/** What a site said of where it stands. */
export type SiteStanding = Partial<
  Pick<
    CampaignSiteRow,
    | 'settled'
    | 'reporting'
    | 'targeted'
    | 'phase'
    | 'pause_reason'
    | 'paused_by'
    | 'paused_at'
    | 'waits_for'
  >
>;

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

/** Whether the site carries the campaign out, or did. */
export const isAtSite = async (
  db: Kysely<Schema>,
  { campaign, site }: { readonly campaign: string; readonly site: string },
): Promise<boolean> => {
  const row = await db
    .selectFrom('campaign_sites')
    .select('site_id')
    .where('campaign_id', '=', campaign)
    .where('site_id', '=', site)
    .executeTakeFirst();
  return row !== undefined;
};

const rowsAtOnce = 500;

/** Those that did not carry it out before. */
export const joinSites = async (
  { db }: WriteTransaction,
  id: string,
  sites: readonly string[],
): Promise<string[]> => {
  const joined: string[] = [];
  for (let at = 0; at < sites.length; at += rowsAtOnce) {
    const added = await db
      .insertInto('campaign_sites')
      .values(sites.slice(at, at + rowsAtOnce).map((site) => newSite(id, site)))
      .onConflict((c) => c.columns(['campaign_id', 'site_id']).doNothing())
      .returning('site_id')
      .execute();
    joined.push(...added.map(({ site_id }) => site_id));
  }
  await countSites(db, id, { site_count: joined.length });
  return joined;
};

const newSite = (campaign: string, site: string): CampaignSiteRow => ({
  campaign_id: campaign,
  site_id: site,
  settled: 0,
  reporting: 0,
  targeted: 0,
  phase: 0,
  pause_reason: '',
  paused_by: '',
  paused_at: null,
  waits_for: '',
});

/** Notes what a site said; false when it does not carry the campaign out at all. */
export const moveSite = async (
  { db }: WriteTransaction,
  key: { readonly campaign: string; readonly site: string },
  standing: SiteStanding,
): Promise<boolean> => {
  const before = await db
    .selectFrom('campaign_sites')
    .selectAll()
    .where('campaign_id', '=', key.campaign)
    .where('site_id', '=', key.site)
    .executeTakeFirst();
  if (before === undefined) return false;
  // A phase is begun once, whatever an older log says of it again.
  const after = { ...before, ...standing, phase: Math.max(before.phase, standing.phase ?? 0) };
  await db
    .updateTable('campaign_sites')
    .set(after)
    .where('campaign_id', '=', key.campaign)
    .where('site_id', '=', key.site)
    .execute();
  await countSites(db, key.campaign, {
    reporting_count: after.reporting - before.reporting,
    settled_count: after.settled - before.settled,
    targeted_count: after.targeted - before.targeted,
    paused_count: Number(after.paused_by !== '') - Number(before.paused_by !== ''),
  });
  for (let phase = before.phase; phase < after.phase; phase += 1) {
    await db
      .updateTable('campaign_phases')
      .set((eb) => ({ entered_count: eb('entered_count', '+', 1) }))
      .where('campaign_id', '=', key.campaign)
      .where('phase', '=', phase)
      .execute();
  }
  return true;
};

/** Takes sites out; `choose` narrows which. The campaigns that they carried out. */
export const leaveSites = async (
  { db }: WriteTransaction,
  choose: (query: ReturnType<typeof deleting>) => ReturnType<typeof deleting>,
): Promise<string[]> => {
  const left = await choose(deleting(db)).returningAll().execute();
  for (const row of left) {
    await countSites(db, row.campaign_id, {
      site_count: -1,
      reporting_count: -row.reporting,
      settled_count: -row.settled,
      targeted_count: -row.targeted,
      paused_count: -Number(row.paused_by !== ''),
    });
    await db
      .updateTable('campaign_phases')
      .set((eb) => ({ entered_count: eb('entered_count', '-', 1) }))
      .where('campaign_id', '=', row.campaign_id)
      .where('phase', '<', row.phase)
      .execute();
  }
  return [...new Set(left.map(({ campaign_id }) => campaign_id))];
};

const deleting = (db: Kysely<Schema>) => db.deleteFrom('campaign_sites');

type SiteCounter =
  | 'site_count'
  | 'reporting_count'
  | 'settled_count'
  | 'paused_count'
  | 'targeted_count';

const countSites = async (
  db: Kysely<Schema>,
  campaign: string,
  changes: Partial<Record<SiteCounter, number>>,
): Promise<void> => {
  const moved = Object.entries(changes).filter(([, change]) => change !== 0);
  if (moved.length === 0) return;
  await db
    .updateTable('campaigns')
    .set((eb) =>
      Object.fromEntries(
        // The type above names columns alone.
        moved.map(([column, change]) => [column, eb(eb.ref(column as SiteCounter), '+', change)]),
      ),
    )
    .where('campaign_id', '=', campaign)
    .execute();
};
