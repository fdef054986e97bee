/**
 * What a gateway that owns its site no more says to be revoked. A technician may have revoked it before the gateway was replaced, and then a
 * device that was lost must not come back; or it is the word of whoever has the gateway now, and would cut the devices of its successor
 * off, whatever time it names. Only a person knows, so it is kept and shown, and holds once somebody accepts it.
 */
import type { EntryBody } from '@holdfast/protos/link/journal-entries';
import type { RevocationReason } from '@holdfast/protos/semantics/revocation-reason';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import type { Selectable } from 'kysely';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import { recordRevocation } from './revocations.js';

export type RevocationProposal = Selectable<Schema['revocation_proposals']>;

/** Of one site: whoever has its gateway may say as much as he likes. The journal keeps it all. */
const mostOfOneSite = 1_000;

/**
 * Keeps what a person has to look at: neither what renewal leaves behind, nor what holds or is over anyway; and only of the authorities that
 * the site had before its present one, since no gateway from then can know more.
 */
export const proposeRevocations = async (
  tx: WriteTransaction,
  site: string,
  said: readonly EntryBody<'audit', 'certificate_revoked'>[],
  now: number,
): Promise<void> => {
  const former = await formerIssuers(tx, site);
  for (const body of said) {
    if (former.has(body.issuer_key_id)) await propose(tx, site, body, now);
  }
};

/** Subject key ids of the site's authorities before the present gateway's. */
const formerIssuers = async ({ db }: WriteTransaction, site: string): Promise<Set<string>> => {
  const rows = await db
    .selectFrom('certificates')
    .innerJoin('sites', 'sites.site_id', 'certificates.site_id')
    .select('certificates.pem')
    .where('certificates.site_id', '=', site)
    .where('certificates.role', '=', 'site_ca')
    .whereRef('certificates.gateway_id', '!=', 'sites.gateway_id')
    .execute();
  return new Set(rows.map(({ pem }) => parseCertificate(pem).extensions.subjectKeyId ?? ''));
};

const propose = async (
  { db }: WriteTransaction,
  site: string,
  body: EntryBody<'audit', 'certificate_revoked'>,
  now: number,
): Promise<void> => {
  const { issuer_key_id, serial, device, reason, actor, revoked_at, expires_at } = body;
  const isRenewal = reason === 'superseded' && actor === 'site:renewal';
  const isOver = expires_at !== null && expires_at + reEnrolmentGraceMs < now;
  if (device === null || isRenewal || isOver) return;
  const known = await db
    .selectFrom('revocations')
    .select('serial')
    .where('issuer_key_id', '=', issuer_key_id)
    .where('serial', '=', serial)
    .executeTakeFirst();
  if (known !== undefined) return;
  const { n } = await db
    .selectFrom('revocation_proposals')
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .where('site_id', '=', site)
    .executeTakeFirstOrThrow();
  if (Number(n) >= mostOfOneSite) return;
  await db
    .insertInto('revocation_proposals')
    .values({
      ...{ site_id: site, issuer_key_id, serial, device_id: device, reason, actor },
      ...{ revoked_at, expires_at, heard_at: now },
    })
    .onConflict((c) => c.columns(['site_id', 'serial', 'issuer_key_id']).doNothing())
    .execute();
};

/** For so long an expired certificate still gets its device another one. */
const reEnrolmentGraceMs = 90 * 86_400_000;

export interface Settlement {
  readonly site: string;
  readonly accept: boolean;
  /** Empty: all. */
  readonly serials: readonly string[];
  /** As `cloud:admin`. */
  readonly actor: string;
  /** Epoch ms. */
  readonly now: number;
}

/** Revokes or dismisses; gives the serial numbers of those that were there. The caller asks for the site's plan. */
export const settleProposals = async (
  tx: WriteTransaction,
  { site, accept, serials, actor, now }: Settlement,
): Promise<string[]> => {
  let query = tx.db.selectFrom('revocation_proposals').selectAll().where('site_id', '=', site);
  if (serials.length > 0) query = query.where('serial', 'in', [...serials]);
  const proposals = await query.orderBy('serial').execute();
  for (const { issuer_key_id, serial, device_id, reason, expires_at } of proposals) {
    if (accept) {
      await recordRevocation(tx, {
        ...{ site, serial, actor, at: now, issuerKeyId: issuer_key_id, device: device_id },
        // Only `propose` writes it.
        reason: reason as RevocationReason,
        expiresAt: expires_at,
      });
    }
    await tx.db
      .deleteFrom('revocation_proposals')
      .where('site_id', '=', site)
      .where('issuer_key_id', '=', issuer_key_id)
      .where('serial', '=', serial)
      .execute();
  }
  return proposals.map(({ serial }) => serial);
};
