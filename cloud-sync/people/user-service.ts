/** The service Users: who may sign in at the gateway of a site. Every change asks for the site's plan. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type User, UsersService } from '@holdfast/protos/gen/holdfast/v1/users';
import { isUserName, passwordHash, role } from '@holdfast/protos/local/people';
import type { Kysely, Selectable } from 'kysely';
import * as v from 'valibot';
import { parseName, parseSiteName } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import { checkEtag, requireSite } from '../sites/site-records.js';
import { cutPage, readPage } from '../store/page.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine } from '../store/sql-engine.js';

export interface UserServiceDependencies {
  readonly engine: SqlEngine;
  readonly plans: PlanPublisher;
  readonly now: () => number;
}

type UserRow = Selectable<Schema['site_users']>;

interface UserId {
  readonly site: string;
  readonly user: string;
}

/** They all stand in one document of the plan. */
const mostUsers = 1_000;

export const userService = ({ engine, plans, now }: UserServiceDependencies): ApiService => {
  const { read } = engine;
  const get = async (id: UserId): Promise<User> => userMessage(await requireUser(read, id));
  return apiService(UsersService, {
    createUser: async ({ parent, userId, user }) => {
      const site = parseSiteName(parent);
      if (!isUserName(userId)) {
        throw new HoldfastError(
          'REQUEST_INVALID',
          'user_id must be 1 to 64 of a-z 0-9 _ -, and not "operator"',
        );
      }
      const values = {
        role: requireRole(user?.role),
        password_hash: requireHash(user?.passwordHash),
      };
      await engine.write(async (tx) => {
        await requireSite(tx.db, site);
        const { count } = await tx.db
          .selectFrom('site_users')
          .select(({ fn }) => fn.countAll<number>().as('count'))
          .where('site_id', '=', site)
          .executeTakeFirstOrThrow();
        if (Number(count) >= mostUsers) {
          throw new HoldfastError('RESOURCE_CONFLICT', `A site has at most ${mostUsers} users`);
        }
        const result = await tx.db
          .insertInto('site_users')
          .values({
            ...values,
            site_id: site,
            user_id: userId,
            version: 1,
            created_at: now(),
            updated_at: now(),
          })
          .onConflict((c) => c.columns(['site_id', 'user_id']).doNothing())
          .executeTakeFirst();
        if (result.numInsertedOrUpdatedRows !== 1n) {
          throw new HoldfastError('RESOURCE_EXISTS', `There is a user ${userId} already`);
        }
        await plans.request(tx, [site]);
      });
      return get({ site, user: userId });
    },

    getUser: ({ name }) => get(parseUserName(name)),

    listUsers: async (request) => {
      const [site = ''] = parseName(request.parent, 'sites/{site}', { wildcard: true });
      const scope = `users of ${site}`;
      const page = readPage(request, scope, ['', '']);
      let query = read.selectFrom('site_users').selectAll();
      if (site !== '-') {
        await requireSite(read, site);
        query = query.where('site_id', '=', site);
      }
      if (page.after !== undefined) {
        const [afterSite, afterUser] = page.after;
        query = query.where((eb) =>
          eb.or([
            eb('site_id', '>', afterSite),
            eb.and([eb('site_id', '=', afterSite), eb('user_id', '>', afterUser)]),
          ]),
        );
      }
      const rows = await query
        .orderBy('site_id')
        .orderBy('user_id')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, (row) => [row.site_id, row.user_id]);
      return { users: cut.rows.map(userMessage), nextPageToken: cut.nextPageToken };
    },

    updateUser: async ({ user, updateMask }) => {
      if (user === undefined) throw new HoldfastError('REQUEST_INVALID', 'user is missing');
      const id = parseUserName(user.name);
      const change = changeOf(user, updateMask);
      await engine.write(async (tx) => {
        const row = await requireUser(tx.db, id);
        checkEtag(user.etag, row.version, `The user ${id.user}`);
        await tx.db
          .updateTable('site_users')
          .set({ ...change, version: row.version + 1, updated_at: now() })
          .where('site_id', '=', id.site)
          .where('user_id', '=', id.user)
          .execute();
        await plans.request(tx, [id.site]);
      });
      return get(id);
    },

    deleteUser: async ({ name, etag }) => {
      const id = parseUserName(name);
      await engine.write(async (tx) => {
        const row = await requireUser(tx.db, id);
        checkEtag(etag, row.version, `The user ${id.user}`);
        await tx.db
          .deleteFrom('site_users')
          .where('site_id', '=', id.site)
          .where('user_id', '=', id.user)
          .execute();
        await plans.request(tx, [id.site]);
      });
      return {};
    },
  });
};

const parseUserName = (name: string): UserId => {
  const [site = '', user = ''] = parseName(name, 'sites/{site}/users/{user}');
  return { site, user };
};

const requireUser = async (db: Kysely<Schema>, { site, user }: UserId): Promise<UserRow> => {
  const row = await db
    .selectFrom('site_users')
    .selectAll()
    .where('site_id', '=', site)
    .where('user_id', '=', user)
    .executeTakeFirst();
  if (row !== undefined) return row;
  throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no user ${user} at the site ${site}`);
};

const changeOf = (user: User, mask: readonly string[] | undefined) => {
  const paths = mask === undefined || mask.length === 0 ? ['role', 'password_hash'] : mask;
  const unknown = paths.find((path) => path !== 'role' && path !== 'password_hash');
  if (unknown !== undefined) {
    throw new HoldfastError('REQUEST_INVALID', 'update_mask may name role and password_hash');
  }
  return {
    ...(paths.includes('role') ? { role: requireRole(user.role) } : {}),
    ...(paths.includes('password_hash') ? { password_hash: requireHash(user.passwordHash) } : {}),
  };
};

const requireRole = (text: string | undefined): UserRow['role'] => {
  const parsed = v.safeParse(role, text);
  if (parsed.success) return parsed.output;
  throw new HoldfastError('REQUEST_INVALID', 'role is viewer, technician or installer');
};

const requireHash = (text: string | undefined): string => {
  const parsed = v.safeParse(passwordHash, text);
  if (parsed.success) return parsed.output;
  // Not repeated: it may be the password itself.
  throw new HoldfastError('REQUEST_INVALID', 'password_hash is no hash of scrypt');
};

const userMessage = (row: UserRow): User => ({
  name: `sites/${row.site_id}/users/${row.user_id}`,
  role: row.role,
  passwordHash: '',
  createTime: new Date(row.created_at),
  updateTime: new Date(row.updated_at),
  etag: String(row.version),
});
