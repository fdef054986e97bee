/** What there is of campaigns, a page at a time. */
import type { CampaignsService, SiteProgress } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { Kysely } from 'kysely';
import { siteName } from '../api/resource-name.js';
import type { Handlers } from '../api/service.js';
import { optionalDate } from '../sites/site-messages.js';
import { cutPage, readPage } from '../store/page.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine } from '../store/sql-engine.js';
import type { PhaseRow } from './campaign-gates.js';
import { campaignMessage, executionMessage, stepMessage } from './campaign-messages.js';
import { parseCampaignName, parseExecutionName } from './campaign-names.js';
import { progressMessage } from './campaign-phases.js';
import { type CampaignRow, requireCampaign } from './campaign-records.js';
import type { CampaignSiteRow } from './campaign-sites.js';
import { counters, noCounts } from './progress.js';

type ListMethods = Pick<
  Handlers<typeof CampaignsService>,
  'listCampaigns' | 'listExecutions' | 'listExecutionSteps' | 'listCampaignProgress'
>;

export const campaignListMethods = ({ read }: Pick<SqlEngine, 'read'>): ListMethods => ({
  listCampaigns: async (request) => {
    const scope = 'campaigns';
    const page = readPage(request, scope, ['']);
    let query = read.selectFrom('campaigns').selectAll();
    if (page.after !== undefined) query = query.where('campaign_id', '>', page.after[0]);
    const rows = await query
      .orderBy('campaign_id')
      .limit(page.limit + 1)
      .execute();
    const cut = cutPage(rows, page, scope, ({ campaign_id }) => [campaign_id]);
    const phases = await phasesOf(read, cut.rows);
    return {
      campaigns: cut.rows.map((row) => campaignMessage(row, phases.get(row.campaign_id) ?? [])),
      nextPageToken: cut.nextPageToken,
    };
  },

  listExecutions: async (request) => {
    const id = parseCampaignName(request.parent);
    const scope = `executions of ${id}`;
    const page = readPage(request, scope, ['', '']);
    await requireCampaign(read, id);
    let query = read.selectFrom('executions').selectAll().where('campaign_id', '=', id);
    if (page.after !== undefined) {
      const [site, device] = page.after;
      query = query.where((eb) =>
        eb.or([
          eb('site_id', '>', site),
          eb.and([eb('site_id', '=', site), eb('device_id', '>', device)]),
        ]),
      );
    }
    const rows = await query
      .orderBy('site_id')
      .orderBy('device_id')
      .limit(page.limit + 1)
      .execute();
    const cut = cutPage(rows, page, scope, (row) => [row.site_id, row.device_id]);
    return { executions: cut.rows.map(executionMessage), nextPageToken: cut.nextPageToken };
  },

  listExecutionSteps: async (request) => {
    const { campaign, site, device } = parseExecutionName(request.parent);
    const scope = `steps of ${request.parent}`;
    const page = readPage(request, scope, ['', '', 0]);
    await requireCampaign(read, campaign);
    let query = read.selectFrom('execution_steps').selectAll().where('campaign_id', '=', campaign);
    if (site !== undefined) {
      query = query.where('site_id', '=', site).where('device_id', '=', device ?? '');
    }
    if (page.after !== undefined) {
      const [afterSite, afterDevice, step] = page.after;
      query = query.where((eb) =>
        eb.or([
          eb('site_id', '>', afterSite),
          eb.and([eb('site_id', '=', afterSite), eb('device_id', '>', afterDevice)]),
          eb.and([
            eb('site_id', '=', afterSite),
            eb('device_id', '=', afterDevice),
            eb('step', '>', step),
          ]),
        ]),
      );
    }
    const rows = await query
      .orderBy('site_id')
      .orderBy('device_id')
      .orderBy('step')
      .limit(page.limit + 1)
      .execute();
    const cut = cutPage(rows, page, scope, (row) => [row.site_id, row.device_id, row.step]);
    return { steps: cut.rows.map(stepMessage), nextPageToken: cut.nextPageToken };
  },

  listCampaignProgress: async (request) => {
    const id = parseCampaignName(request.parent);
    const scope = `progress of ${id}`;
    const page = readPage(request, scope, ['']);
    await requireCampaign(read, id);
    let query = read.selectFrom('campaign_sites').selectAll().where('campaign_id', '=', id);
    if (page.after !== undefined) query = query.where('site_id', '>', page.after[0]);
    const rows = await query
      .orderBy('site_id')
      .limit(page.limit + 1)
      .execute();
    const cut = cutPage(rows, page, scope, ({ site_id }) => [site_id]);
    return {
      sites: await siteMessages(read, id, cut.rows),
      nextPageToken: cut.nextPageToken,
    };
  },
});

const phasesOf = async (
  db: Kysely<Schema>,
  campaigns: readonly CampaignRow[],
): Promise<ReadonlyMap<string, PhaseRow[]>> => {
  const byCampaign = new Map<string, PhaseRow[]>();
  if (campaigns.length === 0) return byCampaign;
  const rows = await db
    .selectFrom('campaign_phases')
    .selectAll()
    .where(
      'campaign_id',
      'in',
      campaigns.map(({ campaign_id }) => campaign_id),
    )
    .orderBy('campaign_id')
    .orderBy('phase')
    .execute();
  for (const row of rows) {
    const phases = byCampaign.get(row.campaign_id);
    if (phases === undefined) byCampaign.set(row.campaign_id, [row]);
    else phases.push(row);
  }
  return byCampaign;
};

const siteMessages = async (
  db: Kysely<Schema>,
  campaign: string,
  sites: readonly CampaignSiteRow[],
): Promise<SiteProgress[]> => {
  if (sites.length === 0) return [];
  const rows = await db
    .selectFrom('campaign_counts')
    .selectAll()
    .where('campaign_id', '=', campaign)
    .where(
      'site_id',
      'in',
      sites.map(({ site_id }) => site_id),
    )
    .orderBy('phase')
    .execute();
  return sites.map((site) => {
    const phases = rows.filter(({ site_id }) => site_id === site.site_id);
    const sum: Record<keyof typeof noCounts, number> = { ...noCounts };
    for (const phase of phases) {
      for (const counter of ['total', ...counters] as const) sum[counter] += phase[counter];
    }
    return {
      site: siteName(site.site_id),
      progress: progressMessage(sum),
      phases: phases.map((row) => ({ number: row.phase + 1, progress: progressMessage(row) })),
      reporting: site.reporting === 1,
      settled: site.settled === 1,
      phase: site.phase,
      pauseReason: site.pause_reason,
      pausedBy: site.paused_by,
      pauseTime: optionalDate(site.paused_at),
      waitsFor: site.waits_for,
    };
  });
};
