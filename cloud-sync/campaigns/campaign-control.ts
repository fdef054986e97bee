/** What people do to a campaign once it is drafted. Each is one transaction with its audit entry and what the plans owe. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { recordAudit } from '../audit/audit-log.js';
import { checkEtag } from '../sites/site-records.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import { forgiveErrors, gatesOf, judgeCampaign, readPhaseRows } from './campaign-gates.js';
import {
  type CampaignRecordDependencies,
  type CampaignRow,
  campaignName,
  changeCampaign,
  endIfSettled,
  findCampaign,
  requireCampaign,
} from './campaign-records.js';
import { joinSites, leaveSites, sitesOf } from './campaign-sites.js';
import { resolveTargets } from './campaign-targets.js';

/** Who does it, and why. */
export interface Act {
  /** As `cloud:admin`. */
  readonly actor: string;
  readonly reason: string;
}

/**
 * Puts it into the plans. Where its time is to come the sites have it already and begin then by themselves, WAN or not; it counts as
 * started from then on. Starting one that runs already changes nothing. Errors: RESOURCE_NOT_FOUND, RESOURCE_CONFLICT,
 * RESOURCE_STATE_WRONG.
 */
export const startCampaign = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  id: string,
  { etag, actor }: { readonly etag: string; readonly actor: string },
): Promise<void> => {
  const campaign = await requireCampaign(tx.db, id);
  // Before the etag: a request that is repeated has the one from before the start.
  if (['running', 'paused', 'scheduled'].includes(campaign.state)) return;
  checkEtag(etag, campaign.version, `The campaign ${id}`);
  if (campaign.state !== 'draft') throw wrongState(campaign, 'started', 'Create a new one');
  const now = deps.now();
  const at = campaign.scheduled_at;
  const isLater = at !== null && at > now;
  if (campaign.rollback_of !== '') await stopOriginal(deps, tx, campaign, actor);
  const sites = await resolveTargets(tx, campaign);
  await joinSites(tx, id, sites);
  await changeCampaign(
    deps,
    tx,
    id,
    isLater ? { state: 'scheduled' } : { state: 'running', started_at: now },
  );
  await recordAudit(tx, now, {
    action: isLater ? 'campaign.scheduled' : 'campaign.started',
    actor,
    resource: campaignName(id),
    details: { sites: sites.length, ...(isLater ? { at: new Date(at).toISOString() } : {}) },
  });
  await deps.plans.request(tx, sites);
};

/** The time of a scheduled campaign has come: devices and sites that came meanwhile are in as well. */
export const beginScheduled = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  id: string,
): Promise<void> => {
  const campaign = await requireCampaign(tx.db, id);
  const now = deps.now();
  if (campaign.state !== 'scheduled' || (campaign.scheduled_at ?? 0) > now) return;
  const sites = await resolveTargets(tx, campaign).catch(noSites);
  await joinSites(tx, id, sites);
  await changeCampaign(deps, tx, id, { state: 'running', started_at: campaign.scheduled_at });
  await recordAudit(tx, now, {
    action: 'campaign.started',
    actor: 'cloud',
    resource: campaignName(id),
    details: { sites: sites.length },
  });
  await deps.plans.request(tx, await sitesOf(tx.db, id));
  await endIfSettled(deps, tx, id);
  await judgeCampaign(deps, tx, await requireCampaign(tx.db, id));
};

/** Whatever was there when it was scheduled is gone: it ends where its sites did. */
const noSites = (error: unknown): readonly string[] => {
  if (error instanceof HoldfastError && error.code === 'RESOURCE_STATE_WRONG') return [];
  throw error;
};

/** A rollback does not fight the campaign that it takes back. */
const stopOriginal = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  { campaign_id: id, rollback_of: original }: CampaignRow,
  actor: string,
): Promise<void> => {
  if ((await findCampaign(tx.db, original)) === undefined) return;
  await cancelCampaign(deps, tx, original, { actor, reason: `taken back by ${id}` });
};

/** Nothing new is offered until it is resumed. Errors: RESOURCE_NOT_FOUND, RESOURCE_STATE_WRONG. */
export const pauseCampaign = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  id: string,
  { actor, reason }: Act,
): Promise<void> => {
  const campaign = await requireCampaign(tx.db, id);
  if (campaign.state === 'paused') return;
  if (campaign.state === 'scheduled') {
    throw wrongState(
      campaign,
      'paused',
      `To keep it from starting: holdfast campaign cancel ${id}`,
    );
  }
  if (campaign.state !== 'running') throw wrongState(campaign, 'paused');
  const now = deps.now();
  await changeCampaign(deps, tx, id, {
    state: 'paused',
    pause_reason: reason,
    paused_by: actor,
    paused_at: now,
  });
  await recordAudit(tx, now, {
    action: 'campaign.paused',
    actor,
    reason,
    resource: campaignName(id),
  });
  await deps.plans.request(tx, await sitesOf(tx.db, id));
};

/**
 * Goes on, also at the sites that paused it because of errors; what is over by now is not held against it again. Errors:
 * RESOURCE_NOT_FOUND, RESOURCE_STATE_WRONG.
 */
export const resumeCampaign = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  id: string,
  { actor, reason }: Act,
): Promise<void> => {
  const campaign = await requireCampaign(tx.db, id);
  if (campaign.state === 'running' && campaign.paused_count === 0) return;
  if (campaign.state !== 'paused' && campaign.state !== 'running') {
    throw wrongState(campaign, 'resumed');
  }
  await forgiveErrors(tx, campaign);
  await changeCampaign(deps, tx, id, {
    state: 'running',
    pause_reason: '',
    paused_by: '',
    paused_at: null,
    resumes: campaign.resumes + 1,
  });
  await recordAudit(tx, deps.now(), {
    action: 'campaign.resumed',
    actor,
    reason,
    resource: campaignName(id),
    details: { sites_paused: campaign.paused_count },
  });
  await deps.plans.request(tx, await sitesOf(tx.db, id));
  // What came in meanwhile opened no gate, and may have been the last to come.
  await judgeCampaign(deps, tx, await requireCampaign(tx.db, id));
};

/** Asks every site to cancel what can be; a draft is cancelled at once. One that is over stays as it is. */
export const cancelCampaign = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  id: string,
  { actor, reason }: Act,
): Promise<void> => {
  const { state } = await requireCampaign(tx.db, id);
  if (state === 'cancelling' || state === 'cancelled' || state === 'completed') return;
  const now = deps.now();
  await recordAudit(tx, now, {
    action: 'campaign.cancelled',
    actor,
    reason,
    resource: campaignName(id),
  });
  if (state === 'draft') {
    const ended = { state: 'cancelled', ended_at: now, cancel_reason: reason } as const;
    await changeCampaign(deps, tx, id, ended);
    return;
  }
  await changeCampaign(deps, tx, id, { state: 'cancelling', cancel_reason: reason });
  await deps.plans.request(tx, await sitesOf(tx.db, id));
  // A site that never had a gateway has nothing to cancel, and nobody who could say so.
  await leaveSites(tx, (query) =>
    query
      .where('campaign_id', '=', id)
      .where('site_id', 'in', tx.db.selectFrom('sites').select('site_id').where('epoch', '=', 0)),
  );
  await endIfSettled(deps, tx, id);
};

/** Opens a gate that only people can: `approve` where a phase asks for it, `release` whatever it would wait for. */
export const openPhase = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  id: string,
  {
    phase: number,
    how,
    actor,
    reason,
  }: Act & { readonly phase: number; readonly how: 'approve' | 'release' },
): Promise<void> => {
  const campaign = await requireCampaign(tx.db, id);
  if (campaign.ended_at !== null || campaign.state === 'cancelling') {
    throw wrongState(campaign, `${how}d`);
  }
  const gates = gatesOf(campaign, await readPhaseRows(tx.db, id));
  const waits = gates.find((gate) =>
    how === 'approve' ? gate.needsApproval : gate.needsApproval || gate.needsFleet,
  );
  const gate = number === 0 ? waits : gates[number - 1];
  if (gate === undefined) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      number === 0
        ? `No phase of ${id} waits ${how === 'approve' ? 'for approval' : 'for approval or for the numbers of the fleet'}`
        : `${id} has ${gates.length} phases, and no phase ${number}`,
    );
  }
  if (how === 'approve' && !gate.phase.approval) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `Phase ${gate.index + 1} of ${id} needs no approval`,
    );
  }
  if (how === 'approve' ? !gate.needsApproval : gate.row.released_at !== null) return;
  const now = deps.now();
  await tx.db
    .updateTable('campaign_phases')
    .set(
      how === 'approve'
        ? { approved_by: actor, approved_at: now }
        : { released_by: actor, released_at: now },
    )
    .where('campaign_id', '=', id)
    .where('phase', '=', gate.index)
    .execute();
  await changeCampaign(deps, tx, id, {});
  await recordAudit(tx, now, {
    action: how === 'approve' ? 'campaign.phase_approved' : 'campaign.phase_released',
    actor,
    reason,
    resource: campaignName(id),
    details: { phase: gate.index + 1 },
  });
  await deps.plans.request(tx, await sitesOf(tx.db, id));
};

const stateWords: Readonly<Record<CampaignRow['state'], string>> = {
  draft: 'not started',
  scheduled: 'scheduled',
  running: 'running',
  paused: 'paused',
  cancelling: 'being cancelled',
  cancelled: 'cancelled',
  completed: 'over',
};

const wrongState = (campaign: CampaignRow, what: string, next = ''): HoldfastError =>
  new HoldfastError(
    'RESOURCE_STATE_WRONG',
    `The campaign ${campaign.campaign_id} is ${stateWords[campaign.state]}, and cannot be ${what}${next === '' ? '' : `. ${next}`}`,
  );
