/**
 * New certificates for a gateway that owns its site, on the strength of the one it shows. What was issued lately for the same key is
 * given again: the answer may have been lost.
 */
import type {
  RenewCertificatesRequest,
  RenewCertificatesResponse,
} from '@holdfast/protos/gen/holdfast/v1/link';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { type CertificateRequest, parseRequest } from '@holdfast/provisioning/pki/csr';
import { type Authority, issueGateway, issueSiteCa } from '@holdfast/provisioning/pki/issue';
import type { GatewayIdentity } from '../link/gateway-identity.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { recordCertificate } from './gateway-certificates.js';

export interface RenewGatewayDependencies {
  readonly engine: SqlEngine;
  /** The fleet's root. */
  readonly issuer: Authority;
  readonly now: () => number;
}

type Role = 'gateway' | 'site_ca';

/** Errors: CERTIFICATE_REQUEST_INVALID. */
export const renewGatewayCertificates = async (
  { engine, issuer, now }: RenewGatewayDependencies,
  gateway: GatewayIdentity,
  { gatewayCsr, siteCaCsr }: RenewCertificatesRequest,
): Promise<RenewCertificatesResponse> => {
  const wanted = {
    gateway: gatewayCsr.length > 0 ? await parseRequest(gatewayCsr) : undefined,
    siteCa: siteCaCsr.length > 0 ? await parseRequest(siteCaCsr) : undefined,
  };
  const at = now();
  const { site, gateway: id } = gateway;
  return engine.write(async (tx) => {
    const renew = async (
      role: Role,
      request: CertificateRequest | undefined,
      issue: (key: CertificateRequest['publicKey']) => Promise<Certificate>,
    ): Promise<string> => {
      if (request === undefined) return '';
      const lately = await issuedLately(tx, { gateway, role, at }, request);
      if (lately !== undefined) return lately.pem;
      const issued = await issue(request.publicKey);
      await recordCertificate(tx, role, issued, gateway, at);
      return issued.pem;
    };
    const gatewayCertificate = await renew('gateway', wanted.gateway, (key) =>
      issueGateway(issuer, key, { site, gateway: id, now: at }),
    );
    const siteCaCertificate = await renew('site_ca', wanted.siteCa, (key) =>
      issueSiteCa(issuer, key, { site, now: at }),
    );
    return {
      gatewayCertificate,
      siteCaCertificate,
      formerSiteCaCertificates: await formerSiteCas(tx, gateway, at),
    };
  });
};

/** A gateway renews at half of a life, so what is younger than a quarter is the answer to the same question. */
const isFresh = ({ notBefore, notAfter }: Certificate, at: number): boolean =>
  at < notBefore + (notAfter - notBefore) / 4;

const issuedLately = async (
  tx: WriteTransaction,
  { gateway, role, at }: { gateway: GatewayIdentity; role: Role; at: number },
  { publicKey }: CertificateRequest,
): Promise<Certificate | undefined> => {
  const rows = await tx.db
    .selectFrom('certificates')
    .select('pem')
    .where('site_id', '=', gateway.site)
    .where('gateway_id', '=', gateway.gateway)
    .where('role', '=', role)
    .where('revoked_at', 'is', null)
    .orderBy('issued_at', 'desc')
    .limit(1)
    .execute();
  const [newest] = rows.map(({ pem }) => parseCertificate(pem));
  if (newest === undefined || !isFresh(newest, at)) return undefined;
  return newest.publicKey.equals(publicKey) ? newest : undefined;
};

/** Of the gateways before this one: one for each key, the newest. */
const formerSiteCas = async (
  tx: WriteTransaction,
  { site, gateway }: GatewayIdentity,
  at: number,
): Promise<string[]> => {
  const rows = await tx.db
    .selectFrom('certificates')
    .select('pem')
    .where('site_id', '=', site)
    .where('gateway_id', '!=', gateway)
    .where('role', '=', 'site_ca')
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', at)
    .orderBy('issued_at')
    .execute();
  const byKey = new Map<string, string>();
  for (const { pem } of rows) byKey.set(parseCertificate(pem).extensions.subjectKeyId ?? '', pem);
  return [...byKey.values()];
};
