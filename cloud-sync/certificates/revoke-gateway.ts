/** Takes back what the root issued to gateways that own their sites no more. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Authority } from '@holdfast/provisioning/pki/issue';
import { requireSite } from '../sites/site-records.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import { recordRevocation } from './revocations.js';
import type { RootCrl } from './root-crl.js';

export interface RevokeGatewayDependencies {
  readonly root: Authority;
  readonly rootCrl: Pick<RootCrl, 'sign'>;
  /** Epoch ms. */
  readonly now: number;
}

export interface GatewayToRevoke {
  readonly site: string;
  /** Empty: every one before the present. */
  readonly gateway: string;
  readonly isSiteCaIncluded: boolean;
  /** As `cloud:admin`. */
  readonly actor: string;
}

/**
 * The serial numbers that were not revoked before; the root's list is signed and every plan asked for. Errors: RESOURCE_NOT_FOUND,
 * RESOURCE_STATE_WRONG for the gateway that owns the site: the site would be without one.
 */
export const revokeGateway = async (
  { root, rootCrl, now }: RevokeGatewayDependencies,
  tx: WriteTransaction,
  { site, gateway, isSiteCaIncluded, actor }: GatewayToRevoke,
): Promise<string[]> => {
  const { gateway_id: present } = await requireSite(tx.db, site);
  if (gateway !== '' && gateway === present) {
    throw new HoldfastError(
      'RESOURCE_STATE_WRONG',
      `${gateway} owns the site ${site}. Put another in its place first`,
      { data: { next: `holdfast gateway code ${site} --replace` } },
    );
  }
  let query = tx.db
    .selectFrom('certificates')
    .select(['serial', 'role', 'expires_at', 'gateway_id'])
    .where('site_id', '=', site)
    .where('gateway_id', '!=', present ?? '');
  if (gateway !== '') query = query.where('gateway_id', '=', gateway);
  const former = await query.execute();
  if (gateway !== '' && former.length === 0) {
    throw new HoldfastError('RESOURCE_NOT_FOUND', `${site} never had a gateway ${gateway}`);
  }
  const revoked: string[] = [];
  for (const { serial, role, expires_at: expiresAt } of former) {
    if (role === 'site_ca' && !isSiteCaIncluded) continue;
    const isNew = await recordRevocation(tx, {
      issuerKeyId: root.certificate.extensions.subjectKeyId ?? '',
      ...{ serial, expiresAt, actor, at: now },
      // Every site's: nobody is to take this authority for one.
      site: null,
      device: null,
      reason: role === 'site_ca' ? 'ca_compromise' : 'cessation_of_operation',
    });
    if (!isNew) continue;
    revoked.push(serial);
    await tx.db
      .updateTable('certificates')
      .set({ revoked_at: now })
      .where('serial', '=', serial)
      .execute();
  }
  if (revoked.length > 0) await rootCrl.sign(tx);
  return revoked;
};
