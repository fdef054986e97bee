/** What groups are to campaigns: a site at which a group comes to have members carries out the campaigns that are for it. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import { liveStates } from './campaign-records.js';
import { policyOfRow, targetOfRow, targetSitesOf } from './campaign-row.js';
import { joinSites } from './campaign-sites.js';

/** To be called in the transaction in which a device of the site came to be in one of the groups; the caller asks for the plan. */
export const joinByGroups = async (
  tx: WriteTransaction,
  site: string,
  groups: readonly string[],
): Promise<void> => {
  if (groups.length === 0) return;
  const running = await tx.db
    .selectFrom('campaigns')
    .selectAll()
    .where('state', 'in', ['scheduled', 'running', 'paused'])
    .execute();
  for (const row of running) {
    const target = targetOfRow(row);
    const named = targetSitesOf(row);
    const isFor =
      target.late_joiners &&
      target.groups.some((group) => groups.includes(group)) &&
      (named.length === 0 || named.includes(site));
    if (isFor) await joinSites(tx, row.campaign_id, [site]);
  }
};

/** Errors: RESOURCE_IN_USE while a campaign that is not over names it. */
export const requireGroupUnused = async (db: Kysely<Schema>, group: string): Promise<void> => {
  const live = await db
    .selectFrom('campaigns')
    .selectAll()
    .where('state', 'in', liveStates)
    .execute();
  const user = live.find(
    (row) =>
      targetOfRow(row).groups.includes(group) ||
      policyOfRow(row).disruption.some((limit) => limit.group === group),
  );
  if (user === undefined) return;
  throw new HoldfastError(
    'RESOURCE_IN_USE',
    `The campaign ${user.campaign_id} is for the group ${group}. Cancel it first, or wait for its end`,
  );
};
