/**
 * The service Campaigns. A campaign is drafted here and carried out by the sites: starting one puts it into the plan of every site that it
 * targets; what they report comes through the journal (campaign-effects). Every change and what it owes is one transaction.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { CampaignsService } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { everyDevice } from '@holdfast/protos/link/campaign-document';
import type { CampaignBody } from '@holdfast/protos/link/plan-documents';
import { parseName, requireId } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import { requireFirmware } from '../firmware/firmware-library.js';
import { checkEtag } from '../sites/site-records.js';
import { cutPage, readPage } from '../store/page.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { type CampaignDraft, parseDraft } from './campaign-draft.js';
import { campaignMessage, executionMessage } from './campaign-messages.js';
import {
  allSites,
  type CampaignRecordDependencies,
  changeCampaign,
  endIfSettled,
  joinSites,
  requireCampaign,
  sitesOf,
  targetSitesOf,
} from './campaign-records.js';
import { watchCampaign } from './watch-campaign.js';

export interface CampaignServiceDependencies extends CampaignRecordDependencies {
  readonly engine: SqlEngine;
}

const longestReason = 1_000;

export const campaignService = (deps: CampaignServiceDependencies): ApiService => {
  const { engine, now } = deps;
  const { read } = engine;
  const get = async (id: string) => campaignMessage(await requireCampaign(read, id));
  return apiService(CampaignsService, {
    createCampaign: async ({ campaignId, campaign }) => {
      const id = requireId(campaignId, 'campaign_id');
      const draft = parseDraft(id, campaign);
      await engine.write((tx) => insertCampaign(tx, id, draft, now()));
      return get(id);
    },

    getCampaign: ({ name }) => get(parseCampaignName(name)),

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
      return { campaigns: cut.rows.map(campaignMessage), nextPageToken: cut.nextPageToken };
    },

    startCampaign: async ({ name, etag }) => {
      const id = parseCampaignName(name);
      await engine.write((tx) => startCampaign(deps, tx, id, etag));
      return get(id);
    },

    cancelCampaign: async ({ name, reason }) => {
      const id = parseCampaignName(name);
      if (reason.length > longestReason) {
        throw new HoldfastError(
          'REQUEST_INVALID',
          `reason has at most ${longestReason} characters`,
        );
      }
      await engine.write((tx) => cancelCampaign(deps, tx, id, reason));
      return get(id);
    },

    watchCampaign: async function* ({ name }, { signal }) {
      for await (const row of watchCampaign(deps, parseCampaignName(name), signal)) {
        yield campaignMessage(row);
      }
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
  });
};

const parseCampaignName = (name: string): string =>
  parseName(name, 'campaigns/{campaign}')[0] ?? '';

/** Errors: RESOURCE_EXISTS, RESOURCE_NOT_FOUND (its firmware, a site), REQUEST_INVALID. */
const insertCampaign = async (
  { db }: WriteTransaction,
  id: string,
  { displayName, firmware, sites, target, policy }: CampaignDraft,
  now: number,
): Promise<void> => {
  const { model } = await requireFirmware(db, firmware);
  if (target.model !== '' && target.model !== model) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `target.model is ${target.model}, and the firmware ${firmware} is for ${model}`,
    );
  }
  const known = new Set(sites.length === 0 ? [] : await allSites(db));
  const missing = sites.find((site) => !known.has(site));
  if (missing !== undefined) {
    throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no site ${missing}`, {
      data: { next: 'holdfast site list' },
    });
  }
  const body: CampaignBody['target'] = {
    ...everyDevice,
    models: [model],
    device_ids: [...target.deviceIds],
    current_versions: [...target.currentVersions],
  };
  const result = await db
    .insertInto('campaigns')
    .values({
      campaign_id: id,
      display_name: displayName,
      firmware_id: firmware,
      target: JSON.stringify(body),
      policy: JSON.stringify(policy),
      target_sites: JSON.stringify(sites),
      state: 'draft',
      version: 1,
      created_at: now,
      started_at: null,
      ended_at: null,
      cancel_reason: '',
      ...noProgress,
    })
    .onConflict((c) => c.column('campaign_id').doNothing())
    .executeTakeFirst();
  if (result.numInsertedOrUpdatedRows === 1n) return;
  throw new HoldfastError('RESOURCE_EXISTS', `There is a campaign ${id} already`, {
    data: { next: `give this one another name, or see that one: holdfast campaign watch ${id}` },
  });
};

const noProgress = {
  total: 0,
  queued: 0,
  in_progress: 0,
  succeeded: 0,
  unproven: 0,
  failed: 0,
  rolled_back: 0,
  cancelled: 0,
  superseded: 0,
};

/** Starting one that runs already changes nothing. Errors: RESOURCE_NOT_FOUND, RESOURCE_CONFLICT, RESOURCE_STATE_WRONG. */
const startCampaign = async (
  deps: CampaignServiceDependencies,
  tx: WriteTransaction,
  id: string,
  etag: string,
): Promise<void> => {
  const campaign = await requireCampaign(tx.db, id);
  // Before the etag: a request that is repeated has the one from before the start.
  if (campaign.state === 'running') return;
  checkEtag(etag, campaign.version, `The campaign ${id}`);
  if (campaign.state !== 'draft') {
    throw new HoldfastError(
      'RESOURCE_STATE_WRONG',
      `The campaign ${id} is ${campaign.state}. Create a new one`,
    );
  }
  const there = await allSites(tx.db);
  const named = new Set(targetSitesOf(campaign));
  const sites = named.size === 0 ? there : there.filter((site) => named.has(site));
  if (sites.length === 0) {
    throw new HoldfastError('RESOURCE_STATE_WRONG', 'There is no site to carry the campaign out');
  }
  await joinSites(tx, id, sites);
  await changeCampaign(deps, tx, id, { state: 'running', started_at: deps.now() });
  await deps.plans.request(tx, sites);
};

/** Asks every site to cancel what can be; a draft is cancelled at once. One that is over stays as it is. */
const cancelCampaign = async (
  deps: CampaignServiceDependencies,
  tx: WriteTransaction,
  id: string,
  reason: string,
): Promise<void> => {
  const { state } = await requireCampaign(tx.db, id);
  if (state === 'draft') {
    const ended = { state: 'cancelled', ended_at: deps.now(), cancel_reason: reason } as const;
    await changeCampaign(deps, tx, id, ended);
  } else if (state === 'running') {
    await changeCampaign(deps, tx, id, { state: 'cancelling', cancel_reason: reason });
    await deps.plans.request(tx, await sitesOf(tx.db, id));
    await forgetEmptySites(tx, id);
    await endIfSettled(deps, tx, id);
  }
};

/** A site that never had a gateway has nothing to cancel, and nobody who could say so. */
const forgetEmptySites = async ({ db }: WriteTransaction, id: string): Promise<void> => {
  await db
    .deleteFrom('campaign_sites')
    .where('campaign_id', '=', id)
    .where('site_id', 'in', db.selectFrom('sites').select('site_id').where('epoch', '=', 0))
    .execute();
};
