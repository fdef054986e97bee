/** What the site itself brings into its plan: its name. */
import type { PlanDocumentProvider } from './plan-documents.js';

export const siteDocument: PlanDocumentProvider = async (db, site) => {
  const row = await db
    .selectFrom('sites')
    .select('display_name')
    .where('site_id', '=', site)
    .executeTakeFirst();
  if (row === undefined) return [];
  return [{ kind: 'site', id: 'site', body: { display_name: row.display_name } }];
};
