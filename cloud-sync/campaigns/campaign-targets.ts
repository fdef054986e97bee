/**
 * Which sites carry a campaign out, and which of its devices each is told. What follows from a site's own knowledge (models, labels,
 * versions) is left to the site; ids are resolved here, so that no plan has those of other sites, and a target that takes no late joiners
 * is resolved whole when the campaign starts.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { CampaignTarget } from '@holdfast/protos/link/campaign-document';
import type { Kysely } from 'kysely';
import { isRemoved, parseLabels } from '../devices/device-records.js';
import { hasLabels, sitesOfGroups } from '../groups/group-members.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import type { CampaignRow } from './campaign-records.js';
import { targetOfRow, targetSitesOf } from './campaign-row.js';
import { allSites } from './campaign-sites.js';

/** In place of a site: nobody knows a device of this id yet. */
const nowhere = '';
const rowsAtOnce = 500;

/** Notes the devices of a campaign, and returns the sites that are to carry it out. Errors: RESOURCE_STATE_WRONG where that is none. */
export const resolveTargets = async (
  { db }: WriteTransaction,
  campaign: CampaignRow,
): Promise<readonly string[]> => {
  const target = targetOfRow(campaign);
  const named = new Set(targetSitesOf(campaign));
  const there = await allSites(db);
  const sites = named.size === 0 ? there : there.filter((site) => named.has(site));
  if (sites.length === 0) {
    throw new HoldfastError('RESOURCE_STATE_WRONG', 'There is no site to carry the campaign out', {
      data: { next: 'holdfast site list' },
    });
  }
  const id = campaign.campaign_id;
  await db.deleteFrom('campaign_devices').where('campaign_id', '=', id).execute();
  if (!target.late_joiners) return requireSome(await resolveAll(db, id, target, sites));
  if (target.device_ids.length > 0) return requireSome(await resolveIds(db, id, target, sites));
  if (target.groups.length === 0) return sites;
  const grouped = new Set(await sitesOfGroups(db, target.groups));
  return requireSome(sites.filter((site) => grouped.has(site)));
};

/** What the plan of a site says of the target: devices that have ids are its own. */
export const targetAtSite = async (
  db: Kysely<Schema>,
  campaign: CampaignRow,
  site: string,
): Promise<CampaignTarget> => {
  const target = targetOfRow(campaign);
  if (target.late_joiners && target.device_ids.length === 0) return target;
  const rows = await db
    .selectFrom('campaign_devices')
    .select('device_id')
    .where('campaign_id', '=', campaign.campaign_id)
    .where('site_id', 'in', [site, nowhere])
    .orderBy('device_id')
    .execute();
  const devices = rows.map(({ device_id }) => device_id);
  if (target.late_joiners) return { ...target, device_ids: devices };
  // Groups and labels were looked at when it started; versions are what the site knows best.
  return { ...target, device_ids: devices, groups: [], attributes: {} };
};

const requireSome = (sites: readonly string[]): readonly string[] => {
  if (sites.length > 0) return sites;
  throw new HoldfastError(
    'RESOURCE_STATE_WRONG',
    'No device fits the target now: look at its sites, models, groups, labels and ids',
    { data: { next: 'holdfast device list' } },
  );
};

/** Ids by the sites that have them; those that no site has go to all of them, for a device that is yet to come. */
const resolveIds = async (
  db: Kysely<Schema>,
  campaign: string,
  { device_ids: ids }: CampaignTarget,
  sites: readonly string[],
): Promise<readonly string[]> => {
  const unknown = new Set(ids);
  const own = new Set(sites);
  const found: Found[] = [];
  for (let at = 0; at < ids.length; at += rowsAtOnce) {
    const rows = await db
      .selectFrom('devices')
      .select(['site_id', 'device_id'])
      .where('device_id', 'in', ids.slice(at, at + rowsAtOnce))
      .where((eb) => eb.not(isRemoved(eb)))
      .execute();
    for (const row of rows) {
      if (!own.has(row.site_id)) continue;
      unknown.delete(row.device_id);
      found.push(row);
    }
  }
  found.push(...[...unknown].map((device_id) => ({ site_id: nowhere, device_id })));
  await storeDevices(db, campaign, found);
  return unknown.size > 0 ? sites : sitesOfFound(found);
};

/** Every device that fits, as far as this end knows: which version it runs is for its site to say. */
const resolveAll = async (
  db: Kysely<Schema>,
  campaign: string,
  target: CampaignTarget,
  sites: readonly string[],
): Promise<readonly string[]> => {
  const own = new Set(sites);
  const ids = new Set(target.device_ids);
  const found: Found[] = [];
  let after = { site_id: '', device_id: '' };
  for (;;) {
    const rows = await devicesAfter(db, target, after);
    for (const { site_id, device_id, labels } of rows) {
      const fits =
        own.has(site_id) &&
        (ids.size === 0 || ids.has(device_id)) &&
        hasLabels(parseLabels(labels), target.attributes);
      if (fits) found.push({ site_id, device_id });
    }
    const last = rows.at(-1);
    if (last === undefined) break;
    after = last;
  }
  await storeDevices(db, campaign, found);
  return sitesOfFound(found);
};

interface Found {
  readonly site_id: string;
  readonly device_id: string;
}

const devicesAfter = (db: Kysely<Schema>, target: CampaignTarget, after: Found) => {
  let query = db
    .selectFrom('devices')
    .select(['site_id', 'device_id', 'labels'])
    .where((eb) => eb.not(isRemoved(eb)))
    .where((eb) =>
      eb.or([
        eb('site_id', '>', after.site_id),
        eb.and([eb('site_id', '=', after.site_id), eb('device_id', '>', after.device_id)]),
      ]),
    );
  if (target.models.length > 0) query = query.where('model', 'in', target.models);
  if (target.groups.length > 0) {
    query = query.where((eb) =>
      eb.exists(
        eb
          .selectFrom('group_members')
          .select('group_members.group_id')
          .whereRef('group_members.site_id', '=', 'devices.site_id')
          .whereRef('group_members.device_id', '=', 'devices.device_id')
          .where('group_members.group_id', 'in', target.groups),
      ),
    );
  }
  return query.orderBy('site_id').orderBy('device_id').limit(rowsAtOnce).execute();
};

const sitesOfFound = (found: readonly Found[]): string[] => [
  ...new Set(found.map(({ site_id }) => site_id)),
];

const storeDevices = async (
  db: Kysely<Schema>,
  campaign: string,
  found: readonly Found[],
): Promise<void> => {
  for (let at = 0; at < found.length; at += rowsAtOnce) {
    await db
      .insertInto('campaign_devices')
      .values(
        found
          .slice(at, at + rowsAtOnce)
          .map(({ site_id, device_id }) => ({ campaign_id: campaign, site_id, device_id })),
      )
      .execute();
  }
};
