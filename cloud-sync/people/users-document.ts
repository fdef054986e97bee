/** What the plan says of people: who may sign in at the site's gateway. */
import type { PlanDocumentProvider } from '../sites/plan-documents.js';

export const usersDocument: PlanDocumentProvider = async (db, site) => {
  const rows = await db
    .selectFrom('site_users')
    .select(['user_id', 'role', 'password_hash'])
    .where('site_id', '=', site)
    .orderBy('user_id')
    .execute();
  // A site without any is told nothing, so that older gateways are not told of a kind they do not know.
  if (rows.length === 0) return [];
  const users = rows.map(({ user_id: user, role, password_hash }) => ({
    user,
    role,
    password_hash,
  }));
  return [{ kind: 'users', id: 'users', body: { users } }];
};
