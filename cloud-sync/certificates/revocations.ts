/** What the control plane knows to be revoked, by whomever, and tells the sites in their plans. A revocation is never taken back. */
import type { RevocationsBody } from '@holdfast/protos/link/plan-documents';
import type { RevocationReason } from '@holdfast/protos/semantics/revocation-reason';
import type { PlanDocumentProvider } from '../sites/plan-documents.js';
import type { WriteTransaction } from '../store/sql-engine.js';

export interface Revocation {
  /** Subject key id of the issuer, and serial number; lower-case hexadecimal. */
  readonly issuerKeyId: string;
  readonly serial: string;
  /** Whose plan names it; null for every site's. */
  readonly site: string | null;
  readonly device: string | null;
  readonly reason: RevocationReason;
  /** As `cloud:admin`. */
  readonly actor: string;
  /** Epoch ms. */
  readonly at: number;
  readonly expiresAt: number | null;
}

/**
 * Whether it is new; what was one site's word becomes every site's by a revocation that is. The caller asks for the plans of the sites that it concerns.
 */
export const recordRevocation = async (
  { db }: WriteTransaction,
  { issuerKeyId, serial, site, device, reason, actor, at, expiresAt }: Revocation,
): Promise<boolean> => {
  const facts = {
    site_id: site,
    device_id: device,
    reason,
    actor,
    revoked_at: at,
    expires_at: expiresAt,
  };
  const result = await db
    .insertInto('revocations')
    .values({ issuer_key_id: issuerKeyId, serial, ...facts })
    .onConflict((conflict) => {
      const same = conflict.columns(['issuer_key_id', 'serial']);
      if (site !== null) return same.doNothing();
      return same.doUpdateSet(facts).where('revocations.site_id', 'is not', null);
    })
    .executeTakeFirst();
  return result.numInsertedOrUpdatedRows === 1n;
};

/** A site keeps what it was once told: beyond this nothing is to be had from a certificate that has expired, not even another one. */
const namedAfterExpiryMs = 120 * 86_400_000;

/** A document has 4 MiB. A thousand devices that renew each week leave twice as many as these within their 120 days. */
const mostSuperseded = 8_000;

/**
 * Without the oldest of those that a renewal left behind, beyond so many: the site itself knows them, and a plan that is too large would be
 * taken by no gateway at all. Pure.
 */
export const withoutOldSuperseded = <
  Row extends { readonly reason: string; readonly revoked_at: number },
>(
  rows: readonly Row[],
  most = mostSuperseded,
): readonly Row[] => {
  const superseded = rows.filter(({ reason }) => reason === 'superseded');
  if (superseded.length <= most) return rows;
  superseded.sort((a, b) => b.revoked_at - a.revoked_at);
  const dropped = new Set(superseded.slice(most));
  return rows.filter((row) => !dropped.has(row));
};

export const revocationsDocument =
  (now: () => number): PlanDocumentProvider =>
  async (db, site) => {
    const rows = await db
      .selectFrom('revocations')
      .selectAll()
      .where((eb) => eb.or([eb('site_id', '=', site), eb('site_id', 'is', null)]))
      .where((eb) =>
        eb.or([eb('expires_at', 'is', null), eb('expires_at', '>', now() - namedAfterExpiryMs)]),
      )
      .orderBy('issuer_key_id')
      .orderBy('serial')
      .execute();
    const list = await db.selectFrom('root_crl').select('pem').executeTakeFirst();
    const body: RevocationsBody = {
      certificates: withoutOldSuperseded(rows).map((row) => ({
        issuer_key_id: row.issuer_key_id,
        serial: row.serial,
        at: row.revoked_at,
        // Only `recordRevocation` writes it.
        reason: row.reason as RevocationReason,
        actor: row.actor,
        device: row.device_id,
        expires_at: row.expires_at,
      })),
      root_crl: list?.pem ?? null,
    };
    return [{ kind: 'revocations', id: 'revocations', body }];
  };
