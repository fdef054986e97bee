/**
 * What campaigns owe when a site or a device goes: nobody waits for it any longer, and what is left may be what a phase wanted. To be
 * called in the transaction that takes it out.
 */
import type { WriteTransaction } from '../store/sql-engine.js';
import { judgeCampaign } from './campaign-gates.js';
import {
  type CampaignRecordDependencies,
  endIfSettled,
  requireCampaign,
} from './campaign-records.js';
import { leaveSites } from './campaign-sites.js';
import { closeExecutions } from './execution-records.js';

export const releaseSite = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  site: string,
): Promise<void> => {
  const closed = await closeExecutions(deps, tx, { site }, 'the site was deleted');
  const left = await leaveSites(tx, (query) => query.where('site_id', '=', site));
  for (const id of left) await endIfSettled(deps, tx, id);
  for (const id of new Set([...left, ...closed])) {
    await judgeCampaign(deps, tx, await requireCampaign(tx.db, id));
  }
  for (const table of ['campaign_devices', 'emergency_stops'] as const) {
    await tx.db.deleteFrom(table).where('site_id', '=', site).execute();
  }
};

export const releaseDevice = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  key: { readonly site: string; readonly device: string },
): Promise<void> => {
  for (const id of await closeExecutions(deps, tx, key, 'the device was deleted')) {
    await judgeCampaign(deps, tx, await requireCampaign(tx.db, id));
  }
};
