/** What the site itself brings into its plan: its name, and the codes with which devices may still enrol. */
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

export const claimsDocument =
  (now: () => number): PlanDocumentProvider =>
  async (db, site) => {
    const codes = await db
      .selectFrom('claim_codes')
      .select(['hash', 'device_id', 'expires_at'])
      .where('site_id', '=', site)
      .where('used_at', 'is', null)
      .where('expires_at', '>', now())
      .orderBy('hash')
      .execute();
    const body = { codes: codes.map((code) => ({ ...code, model: null })) };
    return [{ kind: 'claims', id: 'claims', body }];
  };
