/**
 * Who is in which group. Members are rows, also those of a group with a selector, so that a plan is composed and a campaign started
 * without looking at devices that are in none: whoever changes a device's labels says so here, in the same transaction.
 */
import type { Kysely } from 'kysely';
import { type DeviceKey, isRemoved, parseLabels } from '../devices/device-records.js';
import type { PlanContent, PlanDocumentProvider } from '../sites/plan-documents.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';

type Labels = Readonly<Record<string, string>>;

export const hasLabels = (labels: Labels, wanted: Labels): boolean =>
  Object.entries(wanted).every(
    ([name, value]) => Object.hasOwn(labels, name) && labels[name] === value,
  );

const rowsAtOnce = 500;

/** Puts devices in; those that are in already stay. The sites in which that changed something. */
export const addMembers = async (
  { db }: WriteTransaction,
  group: string,
  devices: readonly DeviceKey[],
): Promise<string[]> => {
  const changed = new Set<string>();
  for (let at = 0; at < devices.length; at += rowsAtOnce) {
    const added = await db
      .insertInto('group_members')
      .values(
        devices
          .slice(at, at + rowsAtOnce)
          .map(({ site, device }) => ({ group_id: group, site_id: site, device_id: device })),
      )
      .onConflict((c) => c.columns(['group_id', 'site_id', 'device_id']).doNothing())
      .returning('site_id')
      .execute();
    for (const { site_id } of added) changed.add(site_id);
  }
  return [...changed];
};

/** The sites in which that changed something. */
export const removeMembers = async (
  { db }: WriteTransaction,
  group: string,
  devices: readonly DeviceKey[],
): Promise<string[]> => {
  const changed = new Set<string>();
  for (const { site, device } of devices) {
    const { numDeletedRows } = await db
      .deleteFrom('group_members')
      .where('group_id', '=', group)
      .where('site_id', '=', site)
      .where('device_id', '=', device)
      .executeTakeFirst();
    if (numDeletedRows > 0n) changed.add(site);
  }
  return [...changed];
};

/** Makes the devices that have these labels the members. The sites in which that changed something. */
export const selectMembers = async (
  tx: WriteTransaction,
  group: string,
  selector: Labels,
): Promise<string[]> => {
  const changed = new Set<string>();
  let after: DeviceKey = { site: '', device: '' };
  for (;;) {
    const rows = await labelledDevices(tx.db, after);
    const wanted: DeviceKey[] = [];
    const others: DeviceKey[] = [];
    for (const { site_id: site, device_id: device, labels } of rows) {
      (hasLabels(parseLabels(labels), selector) ? wanted : others).push({ site, device });
    }
    for (const site of await addMembers(tx, group, wanted)) changed.add(site);
    for (const site of await removeMembers(tx, group, await membersAmong(tx.db, group, others))) {
      changed.add(site);
    }
    const last = rows.at(-1);
    if (last === undefined) return [...changed];
    after = { site: last.site_id, device: last.device_id };
  }
};

/** Of one device: which groups with selectors it joins and leaves. Those that it joined. */
export const labelsChanged = async (
  tx: WriteTransaction,
  { site, device }: DeviceKey,
  labels: Labels,
): Promise<string[]> => {
  const groups = await tx.db
    .selectFrom('groups')
    .leftJoin('group_members', (join) =>
      join
        .onRef('group_members.group_id', '=', 'groups.group_id')
        .on('group_members.site_id', '=', site)
        .on('group_members.device_id', '=', device),
    )
    .select(['groups.group_id', 'groups.selector', 'group_members.device_id as member'])
    .where('groups.selector', '!=', '{}')
    .execute();
  const joined: string[] = [];
  for (const { group_id, selector, member } of groups) {
    const isMember = hasLabels(labels, parseLabels(selector));
    if (isMember && member === null) {
      await addMembers(tx, group_id, [{ site, device }]);
      joined.push(group_id);
    } else if (!isMember && member !== null) {
      await removeMembers(tx, group_id, [{ site, device }]);
    }
  }
  return joined;
};

/** The groups that have members at a site, with those. */
export const groupDocuments: PlanDocumentProvider = async (db, site) => {
  const rows = await db
    .selectFrom('group_members')
    .select(['group_id', 'device_id'])
    .where('site_id', '=', site)
    .orderBy('group_id')
    .orderBy('device_id')
    .execute();
  const groups = new Map<string, string[]>();
  for (const { group_id, device_id } of rows) {
    const devices = groups.get(group_id);
    if (devices === undefined) groups.set(group_id, [device_id]);
    else devices.push(device_id);
  }
  return [...groups].map(
    ([id, devices]): PlanContent => ({ kind: 'group', id, body: { devices } }),
  );
};

/** The sites at which a group has members. */
export const sitesOfGroups = async (
  db: Kysely<Schema>,
  groups: readonly string[],
): Promise<string[]> => {
  if (groups.length === 0) return [];
  const rows = await db
    .selectFrom('group_members')
    .select('site_id')
    .distinct()
    .where('group_id', 'in', groups)
    .execute();
  return rows.map(({ site_id }) => site_id);
};

const labelledDevices = (db: Kysely<Schema>, { site, device }: DeviceKey) =>
  db
    .selectFrom('devices')
    .select(['site_id', 'device_id', 'labels'])
    .where('labels', '!=', '{}')
    .where((eb) => eb.not(isRemoved(eb)))
    .where((eb) =>
      eb.or([
        eb('site_id', '>', site),
        eb.and([eb('site_id', '=', site), eb('device_id', '>', device)]),
      ]),
    )
    .orderBy('site_id')
    .orderBy('device_id')
    .limit(rowsAtOnce)
    .execute();

const membersAmong = async (
  db: Kysely<Schema>,
  group: string,
  devices: readonly DeviceKey[],
): Promise<DeviceKey[]> => {
  if (devices.length === 0) return [];
  const rows = await db
    .selectFrom('group_members')
    .select(['site_id', 'device_id'])
    .where('group_id', '=', group)
    .where('site_id', 'in', [...new Set(devices.map(({ site }) => site))])
    .where('device_id', 'in', [...new Set(devices.map(({ device }) => device))])
    .execute();
  const asked = new Set(devices.map(({ site, device }) => `${site}/${device}`));
  return rows
    .map(({ site_id, device_id }) => ({ site: site_id, device: device_id }))
    .filter(({ site, device }) => asked.has(`${site}/${device}`));
};
