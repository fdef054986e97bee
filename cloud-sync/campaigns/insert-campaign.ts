/** Stores a draft, with its phases, when everything that it names is there. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { recordAudit } from '../audit/audit-log.js';
import { requireGroup } from '../groups/group-records.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import type { CampaignDraft } from './campaign-draft.js';
import { newPhaseRow } from './campaign-gates.js';
import { requireImages, requireModels } from './campaign-images.js';
import { campaignName } from './campaign-records.js';
import { phasesOfRow } from './campaign-row.js';
import { allSites } from './campaign-sites.js';
import { noCounts } from './progress.js';

export interface InsertOptions {
  readonly id: string;
  /** As `cloud:admin`. */
  readonly creator: string;
  readonly now: number;
  /** The campaign that it takes back, and the firmware that may be older for that. */
  readonly rollback?: {
    readonly of: string;
    readonly allowsOlder: readonly string[];
    readonly reason: string;
  };
}

/** Errors: RESOURCE_EXISTS, RESOURCE_NOT_FOUND (its firmware, a site, a group), REQUEST_INVALID. */
export const insertCampaign = async (
  tx: WriteTransaction,
  draft: CampaignDraft,
  { id, creator, now, rollback }: InsertOptions,
): Promise<void> => {
  const { db } = tx;
  const images = await requireImages(db, draft.images);
  const models = requireModels(draft.target.models, images);
  const { disruption } = draft.policy;
  const groups = new Set([...draft.target.groups, ...disruption.map(({ group }) => group)]);
  for (const group of groups) if (group !== null) await requireGroup(db, group);
  const known = new Set(draft.sites.length === 0 ? [] : await allSites(db));
  const missing = draft.sites.find((site) => !known.has(site));
  if (missing !== undefined) {
    throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no site ${missing}`, {
      data: { next: 'holdfast site list' },
    });
  }
  const phases = JSON.stringify(draft.phases);
  const result = await db
    .insertInto('campaigns')
    .values({
      ...noCounts,
      campaign_id: id,
      display_name: draft.displayName,
      firmware_id: draft.images[0] ?? '',
      images: JSON.stringify(draft.images),
      document: draft.document === null ? null : JSON.stringify(draft.document),
      target: JSON.stringify({ ...draft.target, models }),
      policy: JSON.stringify(draft.policy),
      phases,
      target_sites: JSON.stringify(draft.sites),
      state: 'draft',
      version: 1,
      created_at: now,
      scheduled_at: draft.scheduledAt,
      started_at: null,
      ended_at: null,
      cancel_reason: '',
      pause_reason: '',
      paused_by: '',
      paused_at: null,
      creator,
      rollback_of: rollback?.of ?? '',
      allows_older: JSON.stringify(rollback?.allowsOlder ?? []),
      resumes: 0,
      site_count: 0,
      reporting_count: 0,
      settled_count: 0,
      paused_count: 0,
      targeted_count: 0,
    })
    .onConflict((c) => c.column('campaign_id').doNothing())
    .executeTakeFirst();
  if (result.numInsertedOrUpdatedRows !== 1n) {
    throw new HoldfastError('RESOURCE_EXISTS', `There is a campaign ${id} already`, {
      data: { next: `give this one another name, or see that one: holdfast campaign watch ${id}` },
    });
  }
  for (const index of phasesOfRow({ phases }).keys()) {
    await db.insertInto('campaign_phases').values(newPhaseRow(id, index)).execute();
  }
  await recordAudit(tx, now, {
    action: rollback === undefined ? 'campaign.created' : 'campaign.rolled_back',
    actor: creator,
    resource: campaignName(rollback?.of ?? id),
    ...(rollback === undefined ? {} : { reason: rollback.reason }),
    details: { campaign: id, images: draft.images, phases: draft.phases.length },
  });
};
