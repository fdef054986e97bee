/**
 * The service Campaigns. A campaign is drafted here and carried out by the sites: starting one puts it into the plan of every site that it
 * targets; what they report comes through the journal (campaign-effects). Every change and what it owes is one transaction.
 */
import { type Campaign, CampaignsService } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { requireId } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import { auditActor } from '../audit/audit-log.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import {
  cancelCampaign,
  openPhase,
  pauseCampaign,
  resumeCampaign,
  startCampaign,
} from './campaign-control.js';
import { parseDraft } from './campaign-draft.js';
import { readPhaseRows } from './campaign-gates.js';
import { campaignListMethods } from './campaign-lists.js';
import { campaignMessage } from './campaign-messages.js';
import { parseCampaignName } from './campaign-names.js';
import { requireReason } from './campaign-reason.js';
import { type CampaignRecordDependencies, requireCampaign } from './campaign-records.js';
import type { CampaignTimer } from './campaign-timer.js';
import { emergencyStopMethods } from './emergency-stops.js';
import { insertCampaign } from './insert-campaign.js';
import { draftRollback } from './rollback-campaign.js';
import { watchCampaign } from './watch-campaign.js';

export interface CampaignServiceDependencies extends CampaignRecordDependencies {
  readonly engine: SqlEngine;
  readonly timer: Pick<CampaignTimer, 'look'>;
}

export const campaignService = (deps: CampaignServiceDependencies): ApiService => {
  const { engine, now, timer } = deps;
  const { read } = engine;
  const get = async (id: string): Promise<Campaign> =>
    campaignMessage(await requireCampaign(read, id), await readPhaseRows(read, id));
  /** Changes a campaign and shows what it is then. */
  const change = async (
    name: string,
    work: (tx: WriteTransaction, id: string) => Promise<void>,
  ): Promise<Campaign> => {
    const id = parseCampaignName(name);
    await engine.write((tx) => work(tx, id));
    return get(id);
  };
  return apiService(CampaignsService, {
    ...campaignListMethods(engine),
    ...emergencyStopMethods(deps),

    createCampaign: async ({ campaignId, campaign }, { caller }) => {
      const id = requireId(campaignId, 'campaign_id');
      const draft = parseDraft(id, campaign);
      const creator = auditActor(caller);
      await engine.write((tx) => insertCampaign(tx, draft, { id, creator, now: now() }));
      return get(id);
    },

    createRollbackCampaign: async ({ name, campaignId, images, reason }, { caller }) => {
      const original = parseCampaignName(name);
      const id = requireId(campaignId, 'campaign_id');
      const why = requireReason(reason);
      const creator = auditActor(caller);
      await engine.write(async (tx) => {
        const { draft, allowsOlder } = await draftRollback(tx, { original, images });
        const rollback = { of: original, allowsOlder, reason: why };
        await insertCampaign(tx, draft, { id, creator, now: now(), rollback });
      });
      return get(id);
    },

    getCampaign: ({ name }) => get(parseCampaignName(name)),

    startCampaign: async ({ name, etag }, { caller }) => {
      const started = await change(name, (tx, id) =>
        startCampaign(deps, tx, id, { etag, actor: auditActor(caller) }),
      );
      timer.look();
      return started;
    },

    pauseCampaign: ({ name, reason }, { caller }) => {
      const act = { actor: auditActor(caller), reason: requireReason(reason) };
      return change(name, (tx, id) => pauseCampaign(deps, tx, id, act));
    },

    resumeCampaign: ({ name, reason }, { caller }) => {
      const act = { actor: auditActor(caller), reason: requireReason(reason) };
      return change(name, (tx, id) => resumeCampaign(deps, tx, id, act));
    },

    cancelCampaign: ({ name, reason }, { caller }) => {
      const act = { actor: auditActor(caller), reason: requireReason(reason) };
      return change(name, (tx, id) => cancelCampaign(deps, tx, id, act));
    },

    approvePhase: ({ name, phase, comment }, { caller }) => {
      const act = { actor: auditActor(caller), reason: requireReason(comment) };
      return change(name, (tx, id) => openPhase(deps, tx, id, { ...act, phase, how: 'approve' }));
    },

    releasePhase: ({ name, phase, reason }, { caller }) => {
      const act = { actor: auditActor(caller), reason: requireReason(reason) };
      return change(name, (tx, id) => openPhase(deps, tx, id, { ...act, phase, how: 'release' }));
    },

    watchCampaign: async function* ({ name }, { signal }) {
      for await (const row of watchCampaign(deps, parseCampaignName(name), signal)) {
        yield campaignMessage(row, await readPhaseRows(read, row.campaign_id));
      }
    },
  });
};
