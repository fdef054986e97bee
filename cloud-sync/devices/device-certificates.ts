/** The certificates that sites issued to their devices, as their journals told, and their revocation from here. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { RevocationReason } from '@holdfast/protos/semantics/revocation-reason';
import type { Kysely } from 'kysely';
import { recordRevocation } from '../certificates/revocations.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import type { DeviceKey } from './device-records.js';

export interface IssuedCertificate extends DeviceKey {
  readonly issuerKeyId: string;
  readonly serial: string;
  /** Epoch ms. */
  readonly issuedAt: number;
  readonly expiresAt: number | null;
}

/** The same again changes nothing. */
export const recordCertificate = async (
  { db }: WriteTransaction,
  { issuerKeyId, serial, site, device, issuedAt, expiresAt }: IssuedCertificate,
): Promise<void> => {
  await db
    .insertInto('device_certificates')
    .values({
      issuer_key_id: issuerKeyId,
      serial,
      site_id: site,
      device_id: device,
      issued_at: issuedAt,
      expires_at: expiresAt,
    })
    .onConflict((c) => c.columns(['issuer_key_id', 'serial']).doNothing())
    .execute();
};

/** With their revocations; those of one device. */
export const certificatesOf = (db: Kysely<Schema>, { site, device }: DeviceKey) =>
  db
    .selectFrom('device_certificates as c')
    .leftJoin('revocations as r', (join) =>
      join.onRef('r.issuer_key_id', '=', 'c.issuer_key_id').onRef('r.serial', '=', 'c.serial'),
    )
    .select([
      ...(['c.issuer_key_id', 'c.serial', 'c.issued_at', 'c.expires_at'] as const),
      ...(['r.reason', 'r.actor', 'r.revoked_at'] as const),
    ])
    .where('c.site_id', '=', site)
    .where('c.device_id', '=', device);

export interface RevocationOrder {
  /** Of one certificate; absent: all that are known. */
  readonly serial?: string;
  readonly reason: RevocationReason;
  /** As `cloud:admin`. */
  readonly actor: string;
  readonly now: number;
}

/** The serial numbers that were not revoked before. The caller asks for the plan of the site. Errors: RESOURCE_NOT_FOUND. */
export const revokeCertificates = async (
  tx: WriteTransaction,
  key: DeviceKey,
  { serial, reason, actor, now }: RevocationOrder,
): Promise<string[]> => {
  const known = await certificatesOf(tx.db, key).execute();
  const chosen = known.filter((one) => serial === undefined || one.serial === serial);
  if (serial !== undefined && chosen.length === 0) {
    throw new HoldfastError(
      'RESOURCE_NOT_FOUND',
      `${key.device} has no certificate ${serial} that is known here`,
    );
  }
  const revoked: string[] = [];
  for (const one of chosen) {
    const isNew = await recordRevocation(tx, {
      ...key,
      issuerKeyId: one.issuer_key_id,
      serial: one.serial,
      expiresAt: one.expires_at,
      ...{ reason, actor, at: now },
    });
    if (isNew) revoked.push(one.serial);
  }
  return revoked;
};
