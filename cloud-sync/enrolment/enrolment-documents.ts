/** What the plan says of enrolment: the codes that are open, and the manufacturers whose devices come with a certificate. */
import { parseCertificates } from '@holdfast/provisioning/pki/certificate';
import type { PlanDocumentProvider } from '../sites/plan-documents.js';
import { openClaims } from './claim-codes.js';
import { manufacturersOf, parseTexts } from './manufacturer-records.js';

export const claimsDocument =
  (now: () => number): PlanDocumentProvider =>
  async (db, site) => {
    const codes = await openClaims(db, now())
      .select(['hash', 'device_id', 'model', 'expires_at'])
      .where('site_id', '=', site)
      .orderBy('hash')
      .execute();
    return [{ kind: 'claims', id: 'claims', body: { codes } }];
  };

export const manufacturersDocument: PlanDocumentProvider = async (db, site) => {
  const rows = await manufacturersOf(db, site);
  // A site without any is told nothing, so that older gateways are not told of a kind they do not know.
  if (rows.length === 0) return [];
  const manufacturers = rows.map((row) => ({
    id: row.manufacturer_id,
    certificates: parseCertificates(row.certificates_pem).map(({ pem }) => pem),
    id_prefix: row.id_prefix,
    models: parseTexts(row.models),
  }));
  return [{ kind: 'manufacturers', id: 'manufacturers', body: { manufacturers } }];
};
