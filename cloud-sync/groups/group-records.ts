/** The rows of groups. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../store/schema.js';

export type GroupRow = Selectable<Schema['groups']>;

export const groupName = (group: string): string => `groups/${group}`;

/** Errors: RESOURCE_NOT_FOUND. */
export const requireGroup = async (db: Kysely<Schema>, id: string): Promise<GroupRow> => {
  const row = await db
    .selectFrom('groups')
    .selectAll()
    .where('group_id', '=', id)
    .executeTakeFirst();
  if (row !== undefined) return row;
  throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no group ${id}`, {
    data: { next: 'holdfast group list' },
  });
};

/** How many devices of how many sites each has; groups that nobody is in are left out. */
export const countMembers = async (
  db: Kysely<Schema>,
  groups: readonly string[],
): Promise<ReadonlyMap<string, { readonly members: number; readonly sites: number }>> => {
  if (groups.length === 0) return new Map();
  const rows = await db
    .selectFrom('group_members')
    .select((eb) => [
      'group_id',
      eb.fn.countAll<number>().as('members'),
      eb.fn.count<number>('site_id').distinct().as('sites'),
    ])
    .where('group_id', 'in', groups)
    .groupBy('group_id')
    .execute();
  return new Map(
    rows.map(({ group_id, members, sites }) => [
      group_id,
      { members: Number(members), sites: Number(sites) },
    ]),
  );
};
