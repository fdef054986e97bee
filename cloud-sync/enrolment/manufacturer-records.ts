/** The rows of manufacturers: whose devices may enrol with the certificates that they were made with, and where. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Manufacturer } from '@holdfast/protos/gen/holdfast/v1/enrollment';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { type Certificate, pemChain } from '@holdfast/provisioning/pki/certificate';
import { parseAuthorities } from '@holdfast/provisioning/pki/manufacturer';
import type { Kysely, Selectable } from 'kysely';
import { manufacturerName, parseSiteName, requireId, siteName } from '../api/resource-name.js';
import { requireSite } from '../sites/site-records.js';
import type { Schema } from '../store/schema.js';
import { requireModel } from './claim-codes.js';

export type ManufacturerRow = Selectable<Schema['manufacturers']>;

/** What a request may set. */
export type ManufacturerTerms = Pick<
  ManufacturerRow,
  'certificates_pem' | 'expires_at' | 'id_prefix' | 'models' | 'sites'
>;

const mostModels = 100;
const mostSites = 1_000;

/** Errors: RESOURCE_NOT_FOUND. */
export const requireManufacturer = async (
  db: Kysely<Schema>,
  id: string,
): Promise<ManufacturerRow> => {
  const row = await db
    .selectFrom('manufacturers')
    .selectAll()
    .where('manufacturer_id', '=', id)
    .executeTakeFirst();
  if (row !== undefined) return row;
  throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no manufacturer ${id}`);
};

/** Those that may enrol devices at this site. There are few, so every one is looked at. */
export const manufacturersOf = async (
  db: Kysely<Schema>,
  site: string,
): Promise<readonly ManufacturerRow[]> => {
  const rows = await db
    .selectFrom('manufacturers')
    .selectAll()
    .orderBy('manufacturer_id')
    .execute();
  return rows.filter((row) => isOfSite(row, site));
};

export const isOfSite = ({ sites }: Pick<ManufacturerRow, 'sites'>, site: string): boolean => {
  const named = parseTexts(sites);
  return named.length === 0 || named.includes(site);
};

/** Errors: REQUEST_INVALID, CERTIFICATE_INVALID, RESOURCE_NOT_FOUND for a site that is none. */
export const requireTerms = async (
  db: Kysely<Schema>,
  manufacturer: Manufacturer,
  { root, now }: { readonly root: Certificate; readonly now: number },
): Promise<ManufacturerTerms> => {
  const authorities = parseAuthorities(manufacturer.certificatesPem, { root, at: now });
  const models = [...new Set(manufacturer.models.map(requireModel))];
  if (models.length === 0 || models.length > mostModels) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `a manufacturer enrols 1 to ${mostModels} models: name each`,
    );
  }
  if (manufacturer.sites.length > mostSites) {
    throw new HoldfastError('REQUEST_INVALID', `name at most ${mostSites} sites, or none for all`);
  }
  const sites = [...new Set(manufacturer.sites.map(parseSiteName))];
  for (const site of sites) await requireSite(db, site);
  return {
    certificates_pem: pemChain(...authorities),
    expires_at: Math.min(...authorities.map(({ notAfter }) => notAfter)),
    id_prefix: requireId(manufacturer.idPrefix, 'id_prefix'),
    models: canonicalJson(models),
    sites: canonicalJson(sites),
  };
};

/** The sites whose plans change with it. */
export const affectedSites = async (
  db: Kysely<Schema>,
  rows: readonly Pick<ManufacturerRow, 'sites'>[],
): Promise<string[]> => {
  const named = rows.map(({ sites }) => parseTexts(sites));
  if (!named.some((sites) => sites.length === 0)) return [...new Set(named.flat())];
  const all = await db.selectFrom('sites').select('site_id').execute();
  return all.map(({ site_id }) => site_id);
};

/** JSON that `requireTerms` made. */
export const parseTexts = (json: string): string[] => JSON.parse(json);

export const manufacturerMessage = (row: ManufacturerRow): Manufacturer => ({
  name: manufacturerName(row.manufacturer_id),
  certificatesPem: row.certificates_pem,
  idPrefix: row.id_prefix,
  models: parseTexts(row.models),
  sites: parseTexts(row.sites).map(siteName),
  createTime: new Date(row.created_at),
  expireTime: new Date(row.expires_at),
  etag: String(row.version),
});
