/** Certificates for a gateway that enrols: its own for the link, and its site's CA; recorded with the epoch that they were issued for. */
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import type { CertificateRequest } from '@holdfast/provisioning/pki/csr';
import { type Authority, issueGateway, issueSiteCa } from '@holdfast/provisioning/pki/issue';
import type { WriteTransaction } from '../store/sql-engine.js';

export type RequestedKey = Pick<CertificateRequest, 'publicKey'>;

export interface GatewayGrant {
  readonly site: string;
  readonly gateway: string;
  readonly epoch: number;
}

export interface GatewayCertificates {
  readonly gateway: Certificate;
  readonly siteCa: Certificate;
}

/** Issues both and records them in the caller's transaction. */
export const issueGatewayCertificates = async (
  tx: WriteTransaction,
  { root, now }: { readonly root: Authority; readonly now: number },
  grant: GatewayGrant,
  requests: { readonly gateway: RequestedKey; readonly siteCa: RequestedKey },
): Promise<GatewayCertificates> => {
  const { site, gateway } = grant;
  const issued = {
    gateway: await issueGateway(root, requests.gateway.publicKey, { site, gateway, now }),
    siteCa: await issueSiteCa(root, requests.siteCa.publicKey, { site, now }),
  };
  await recordCertificate(tx, 'gateway', issued.gateway, grant, now);
  await recordCertificate(tx, 'site_ca', issued.siteCa, grant, now);
  return issued;
};

/** Notes what the root issued, in the caller's transaction. */
export const recordCertificate = async (
  { db }: WriteTransaction,
  role: 'gateway' | 'site_ca',
  { serial, pem, notAfter }: Certificate,
  { site, gateway, epoch }: GatewayGrant,
  now: number,
): Promise<void> => {
  await db
    .insertInto('certificates')
    .values({
      serial,
      site_id: site,
      role,
      gateway_id: gateway,
      epoch,
      pem,
      issued_at: now,
      expires_at: notAfter,
      revoked_at: null,
    })
    .execute();
};

/** The certificates that were issued for a grant; undefined when there are none. */
export const readGatewayCertificates = async (
  { db }: WriteTransaction,
  { site, gateway }: Pick<GatewayGrant, 'site' | 'gateway'>,
): Promise<GatewayCertificates | undefined> => {
  const rows = await db
    .selectFrom('certificates')
    .select(['role', 'pem'])
    .where('site_id', '=', site)
    .where('gateway_id', '=', gateway)
    .orderBy('issued_at')
    .execute();
  const pemOf = (role: string) => rows.find((row) => row.role === role)?.pem;
  const [own, ca] = [pemOf('gateway'), pemOf('site_ca')];
  if (own === undefined || ca === undefined) return undefined;
  return { gateway: parseCertificate(own), siteCa: parseCertificate(ca) };
};
