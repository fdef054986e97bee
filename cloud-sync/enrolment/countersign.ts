/**
 * What the control plane makes of an enrolment that a site has decided by itself, when it comes to know of it: it stands and is
 * confirmed, or it does not and its certificate is revoked.
 *
 * An enrolment stands unless
 * - its code was deleted here before it was told of, or has enrolled another device;
 * - its manufacturer was removed meanwhile, or may no longer enrol this id, this model or at this site;
 * - its manufacturer's device is enrolled at another site: there is only one device of the name that a manufacturer gave. Ids that
 *   people choose are a site's own, and may repeat.
 *
 * A code that is not known here was made on site, by somebody who may. Dates are the site's to judge, which knows best what its
 * clock was worth.
 */
import type { EntryBody } from '@holdfast/protos/link/journal-entries';
import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.js';
import type { ClaimRow } from './claim-codes.js';
import { isOfSite, type ManufacturerRow, parseTexts } from './manufacturer-records.js';

export type EnrolledBody = EntryBody<'audit', 'device_enrolled'>;

export interface EnrolmentFacts {
  readonly site: string;
  /** The code that was used, where it was made here. */
  readonly claim: Pick<ClaimRow, 'deleted_at' | 'used_by'> | undefined;
  /** As it is now; undefined when it is gone. */
  readonly manufacturer: Pick<ManufacturerRow, 'id_prefix' | 'models' | 'sites'> | undefined;
  /** Another site that has a device of this id by the same manufacturer. */
  readonly elsewhere: string | undefined;
}

/** Why the enrolment does not stand, and what to do; undefined when it does. Pure. */
export const problemOfEnrolment = (
  { device, model, claim_hash, manufacturer: manufacturerId }: EnrolledBody,
  { site, claim, manufacturer, elsewhere }: EnrolmentFacts,
): string | undefined => {
  if (claim_hash !== null && claim !== undefined) {
    if (claim.used_by !== null && claim.used_by !== device) {
      return `its code had enrolled ${claim.used_by} already. Enrol it with a new one`;
    }
    if (claim.deleted_at !== null) return 'its code had been deleted. Enrol it with a new one';
  }
  if (manufacturerId === undefined) return undefined;
  if (manufacturer === undefined || !isOfSite(manufacturer, site)) {
    return `the manufacturer ${manufacturerId} may not enrol devices at ${site} any more. Enrol it with a code`;
  }
  const isWithin =
    device.startsWith(manufacturer.id_prefix) && parseTexts(manufacturer.models).includes(model);
  if (!isWithin) {
    return `the manufacturer ${manufacturerId} may not enrol a ${model} by this id any more. Enrol it with a code`;
  }
  if (elsewhere === undefined) return undefined;
  return `it is enrolled at the site ${elsewhere}. Delete it there, then enrol it here again`;
};

/** Looks up what `problemOfEnrolment` decides on. */
export const readFacts = async (
  db: Kysely<Schema>,
  site: string,
  { device, claim_hash, manufacturer: manufacturerId }: EnrolledBody,
): Promise<EnrolmentFacts & { readonly claim: ClaimRow | undefined }> => {
  const claim =
    claim_hash === null
      ? undefined
      : await db
          .selectFrom('claim_codes')
          .selectAll()
          .where('hash', '=', claim_hash)
          .where('site_id', '=', site)
          .executeTakeFirst();
  if (manufacturerId === undefined) {
    return { site, claim, manufacturer: undefined, elsewhere: undefined };
  }
  const manufacturer = await db
    .selectFrom('manufacturers')
    .selectAll()
    .where('manufacturer_id', '=', manufacturerId)
    .executeTakeFirst();
  const other = await db
    .selectFrom('devices')
    .select('site_id')
    .where('device_id', '=', device)
    .where('manufacturer_id', '=', manufacturerId)
    .where('site_id', '!=', site)
    .where('enrolment_problem', 'is', null)
    .executeTakeFirst();
  return { site, claim, manufacturer, elsewhere: other?.site_id };
};
