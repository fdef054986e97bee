/** The service Groups. Every change of members asks for the plans of the sites where it is one. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Group, GroupsService } from '@holdfast/protos/gen/holdfast/v1/groups';
import type { Caller } from '../api/caller.js';
import { deviceName, parseDeviceName, parseName, requireId } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import { type AuditAction, auditActor, recordAudit } from '../audit/audit-log.js';
import { joinByGroups, requireGroupUnused } from '../campaigns/campaign-groups.js';
import {
  type DeviceKey,
  parseLabels,
  requireDevice,
  requireLabels,
} from '../devices/device-records.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import { checkEtag } from '../sites/site-records.js';
import { cutPage, readPage } from '../store/page.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { addMembers, removeMembers, selectMembers, sitesOfGroups } from './group-members.js';
import { countMembers, type GroupRow, groupName, requireGroup } from './group-records.js';

export interface GroupServiceDependencies {
  readonly engine: SqlEngine;
  readonly plans: PlanPublisher;
  readonly now: () => number;
}

/** Whoever labels a device looks at all that have a selector. */
const mostGroups = 1_000;
const mostAtOnce = 1_000;
const longestDisplayName = 256;

export const groupService = (deps: GroupServiceDependencies): ApiService => {
  const { engine, plans, now } = deps;
  const { read } = engine;
  const show = async (rows: readonly GroupRow[]): Promise<Group[]> => {
    const counts = await countMembers(
      read,
      rows.map(({ group_id }) => group_id),
    );
    return rows.map((row) => groupMessage(row, counts.get(row.group_id)));
  };
  const get = async (id: string): Promise<Group> => {
    const [group] = await show([await requireGroup(read, id)]);
    if (group === undefined) throw new HoldfastError('INTERNAL', 'a row makes no group');
    return group;
  };
  /** What every change of a group owes besides: campaigns go to the sites that it reaches now, plans, the audit. */
  const settle = async (
    tx: WriteTransaction,
    id: string,
    sites: readonly string[],
    act: {
      readonly action: AuditAction;
      readonly caller: Caller | undefined;
      readonly details: Readonly<Record<string, unknown>>;
    },
  ) => {
    for (const site of sites) await joinByGroups(tx, site, [id]);
    if (sites.length > 0) await plans.request(tx, sites);
    const { action, details } = act;
    const actor = auditActor(act.caller);
    await recordAudit(tx, now(), { action, actor, resource: groupName(id), details });
  };
  return apiService(GroupsService, {
    createGroup: async ({ groupId, group, devices }, { caller }) => {
      const id = requireId(groupId, 'group_id');
      const displayName = requireDisplayName(group?.displayName || id);
      const selector = requireLabels(group?.selector ?? {});
      const members = requireMembers(devices, 'devices');
      if (selector !== '{}' && members.length > 0) {
        throw new HoldfastError('REQUEST_INVALID', 'A group has a selector or devices, not both');
      }
      await engine.write(async (tx) => {
        await insertGroup(tx, {
          group_id: id,
          display_name: displayName,
          selector,
          version: 1,
          created_at: now(),
        });
        for (const member of members) await requireDevice(tx.db, member);
        const sites =
          selector === '{}'
            ? await addMembers(tx, id, members)
            : await selectMembers(tx, id, parseLabels(selector));
        const details = { selector: parseLabels(selector), devices };
        await settle(tx, id, sites, { action: 'group.created', caller, details });
      });
      return get(id);
    },

    getGroup: ({ name }) => get(parseGroupName(name)),

    listGroups: async (request) => {
      const scope = 'groups';
      const page = readPage(request, scope, ['']);
      let query = read.selectFrom('groups').selectAll();
      if (page.after !== undefined) query = query.where('group_id', '>', page.after[0]);
      const rows = await query
        .orderBy('group_id')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, ({ group_id }) => [group_id]);
      return { groups: await show(cut.rows), nextPageToken: cut.nextPageToken };
    },

    updateGroup: async ({ group, updateMask }, { caller }) => {
      if (group === undefined) throw new HoldfastError('REQUEST_INVALID', 'group is missing');
      const id = parseGroupName(group.name);
      const paths = requireMask(updateMask);
      const displayName = requireDisplayName(group.displayName || id);
      const selector = requireLabels(group.selector);
      await engine.write(async (tx) => {
        const row = await requireGroup(tx.db, id);
        checkEtag(group.etag, row.version, `The group ${id}`);
        const isSelected = paths.includes('selector') && selector !== row.selector;
        if (isSelected && (selector === '{}' || row.selector === '{}')) {
          throw new HoldfastError(
            'REQUEST_INVALID',
            'A group that names its devices gets no selector, and one with a selector keeps one. Create another group',
          );
        }
        await tx.db
          .updateTable('groups')
          .set({
            ...(paths.includes('display_name') ? { display_name: displayName } : {}),
            ...(isSelected ? { selector } : {}),
            version: row.version + 1,
          })
          .where('group_id', '=', id)
          .execute();
        const sites = isSelected ? await selectMembers(tx, id, parseLabels(selector)) : [];
        const details = isSelected ? { selector: parseLabels(selector) } : {};
        await settle(tx, id, sites, { action: 'group.changed', caller, details });
      });
      return get(id);
    },

    deleteGroup: async ({ name, etag }, { caller }) => {
      const id = parseGroupName(name);
      await engine.write(async (tx) => {
        const row = await requireGroup(tx.db, id);
        checkEtag(etag, row.version, `The group ${id}`);
        await requireGroupUnused(tx.db, id);
        const sites = await sitesOfGroups(tx.db, [id]);
        await tx.db.deleteFrom('groups').where('group_id', '=', id).execute();
        await settle(tx, id, sites, { action: 'group.deleted', caller, details: {} });
      });
      return {};
    },

    listGroupMembers: async (request) => {
      const id = parseGroupName(request.parent);
      const scope = `members of ${id}`;
      const page = readPage(request, scope, ['', '']);
      await requireGroup(read, id);
      let query = read.selectFrom('group_members').selectAll().where('group_id', '=', id);
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
      return {
        devices: cut.rows.map((row) => deviceName(row.site_id, row.device_id)),
        nextPageToken: cut.nextPageToken,
      };
    },

    changeGroupMembers: async ({ name, add, remove }, { caller }) => {
      const id = parseGroupName(name);
      const added = requireMembers(add, 'add');
      const removed = requireMembers(remove, 'remove');
      await engine.write(async (tx) => {
        const { selector, version } = await requireGroup(tx.db, id);
        if (selector !== '{}') {
          throw new HoldfastError(
            'RESOURCE_STATE_WRONG',
            `The members of ${id} follow from their labels. Change those, or its selector`,
            { data: { next: 'holdfast device label SITE/DEVICE key=value' } },
          );
        }
        for (const member of added) await requireDevice(tx.db, member);
        const sites = new Set([
          ...(await addMembers(tx, id, added)),
          ...(await removeMembers(tx, id, removed)),
        ]);
        await tx.db
          .updateTable('groups')
          .set({ version: version + 1 })
          .where('group_id', '=', id)
          .execute();
        const details = { added: add, removed: remove };
        await settle(tx, id, [...sites], { action: 'group.changed', caller, details });
      });
      return get(id);
    },
  });
};

const parseGroupName = (name: string): string => parseName(name, 'groups/{group}')[0] ?? '';

/** Errors: RESOURCE_EXISTS, RESOURCE_CONFLICT (there are too many). */
const insertGroup = async ({ db }: WriteTransaction, row: GroupRow): Promise<void> => {
  const { count } = await db
    .selectFrom('groups')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  if (Number(count) >= mostGroups) {
    throw new HoldfastError('RESOURCE_CONFLICT', `A fleet has at most ${mostGroups} groups`);
  }
  const result = await db
    .insertInto('groups')
    .values(row)
    .onConflict((c) => c.column('group_id').doNothing())
    .executeTakeFirst();
  if (result.numInsertedOrUpdatedRows === 1n) return;
  throw new HoldfastError('RESOURCE_EXISTS', `There is a group ${row.group_id} already`, {
    data: { next: `holdfast group get ${row.group_id}` },
  });
};

const requireMembers = (names: readonly string[], field: string): DeviceKey[] => {
  if (names.length <= mostAtOnce) return [...new Set(names)].map(parseDeviceName);
  throw new HoldfastError('REQUEST_INVALID', `${field} names more than ${mostAtOnce} devices`);
};

const requireMask = (mask: readonly string[] | undefined): readonly string[] => {
  const all = ['display_name', 'selector'];
  if (mask === undefined || mask.length === 0 || mask.includes('*')) return all;
  if (mask.every((path) => all.includes(path))) return mask;
  throw new HoldfastError('REQUEST_INVALID', 'update_mask may name display_name and selector');
};

const requireDisplayName = (name: string): string => {
  if (name.length > 0 && name.length <= longestDisplayName) return name;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `display_name must be 1 to ${longestDisplayName} characters`,
  );
};

const groupMessage = (
  row: GroupRow,
  count: { readonly members: number; readonly sites: number } | undefined,
): Group => ({
  name: groupName(row.group_id),
  displayName: row.display_name,
  selector: parseLabels(row.selector),
  memberCount: BigInt(count?.members ?? 0),
  siteCount: count?.sites ?? 0,
  createTime: new Date(row.created_at),
  etag: String(row.version),
});
