/**
 * A gateway takes a site: its code's secret is used up, the next epoch granted and both certificates issued in one transaction. A gateway
 * that never got the answer asks again with the same requests and gets the same certificates.
 */
import { createHash, randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { hashClaim } from '@holdfast/provisioning/pki/claim-code';
import { type CertificateRequest, parseRequest } from '@holdfast/provisioning/pki/csr';
import type { Authority } from '@holdfast/provisioning/pki/issue';
import type { Kysely } from 'kysely';
import type { Signals } from '../bus/signals.js';
import {
  type GatewayCertificates,
  type GatewayGrant,
  issueGatewayCertificates,
  readGatewayCertificates,
} from '../certificates/gateway-certificates.js';
import type { Orders } from '../link/orders.js';
import type { Schema } from '../store/schema.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import type { PlanPublisher } from './plan-publisher.js';

export interface EnrolGatewayDependencies {
  readonly engine: SqlEngine;
  readonly root: Authority;
  readonly plans: PlanPublisher;
  readonly orders: Orders;
  readonly signals: Signals;
  readonly now: () => number;
}

export interface GatewayRequest {
  readonly secret: string;
  /** PKCS#10 in DER. */
  readonly gatewayCsr: Uint8Array;
  readonly siteCaCsr: Uint8Array;
  readonly version: string;
}

export interface EnrolledGateway extends GatewayGrant {
  readonly certificates: GatewayCertificates;
}

/** What a code is found by: the request names no site. The row says which site it is for. */
export const hashGatewaySecret = (secret: string): string => hashClaim(secret, '');

/** Errors: CLAIM_CODE_INVALID, CERTIFICATE_REQUEST_INVALID, RESOURCE_CONFLICT when the site has a gateway and the code replaces none. */
export const enrolGateway = async (
  deps: EnrolGatewayDependencies,
  { secret, gatewayCsr, siteCaCsr, version }: GatewayRequest,
): Promise<EnrolledGateway> => {
  const hash = hashGatewaySecret(secret);
  // Anybody may ask; whoever knows no code shall not cost more than a look.
  if ((await findCode(deps.engine.read, hash)) === undefined) throw unknownCode();
  // Before the code is looked at: a malformed request must not use it up.
  const requests = {
    gateway: await parseRequest(gatewayCsr),
    siteCa: await parseRequest(siteCaCsr),
  };
  const csrs = createHash('sha256')
    .update(createHash('sha256').update(gatewayCsr).digest())
    .update(siteCaCsr)
    .digest('hex');
  return deps.engine.write(async (tx) => {
    const code = await findCode(tx.db, hash);
    if (code === undefined) throw unknownCode();
    if (code.used_csrs !== null) {
      if (code.used_csrs === csrs) return repeat(tx, code.site_id, code.used_gateway ?? '');
      throw refused('it was used already. Ask for a new one');
    }
    if (code.expires_at <= deps.now()) throw refused('it has expired. Ask for a new one');
    return grant(deps, tx, { code, csrs, requests, version });
  });
};

const findCode = (db: Kysely<Schema>, hash: string) =>
  db.selectFrom('gateway_codes').selectAll().where('hash', '=', hash).executeTakeFirst();

interface Grant {
  readonly code: { readonly hash: string; readonly site_id: string; readonly replaces: number };
  readonly csrs: string;
  readonly requests: { readonly gateway: CertificateRequest; readonly siteCa: CertificateRequest };
  readonly version: string;
}

const grant = async (
  { root, plans, orders, signals, now }: EnrolGatewayDependencies,
  tx: WriteTransaction,
  { code, csrs, requests, version }: Grant,
): Promise<EnrolledGateway> => {
  const { site_id: site } = code;
  const row = await tx.db
    .selectFrom('sites')
    .select('epoch')
    .where('site_id', '=', site)
    .executeTakeFirstOrThrow();
  if (row.epoch > 0 && code.replaces === 0) {
    throw new HoldfastError(
      'RESOURCE_CONFLICT',
      `The site ${site} has a gateway. To put another in its place, ask for a code that replaces it`,
    );
  }
  const epoch = row.epoch + 1;
  const granted = { site, gateway: `gw${epoch}-${randomBytes(4).toString('hex')}`, epoch };
  const at = now();
  const certificates = await issueGatewayCertificates(tx, { root, now: at }, granted, requests);
  await tx.db
    .updateTable('gateway_codes')
    .set({ used_csrs: csrs, used_gateway: granted.gateway })
    .where('hash', '=', code.hash)
    .execute();
  await tx.db
    .updateTable('sites')
    .set({
      epoch,
      gateway_id: granted.gateway,
      gateway_version: version.slice(0, 128),
      gateway_enrolled_at: at,
      last_contact_at: at,
      clone_suspected: 0,
    })
    .where('site_id', '=', site)
    .execute();
  await plans.request(tx, [site]);
  // What the one before it reported is known here alone: the new one has nothing yet.
  if (epoch > 1) await orders.supplyAnew(tx, site);
  // The gateway before, if it is connected, hears that it is fenced.
  tx.afterCommit(() => signals.publish(`site:${site}`));
  return { ...granted, certificates };
};

const repeat = async (
  tx: WriteTransaction,
  site: string,
  gateway: string,
): Promise<EnrolledGateway> => {
  const certificates = await readGatewayCertificates(tx, { site, gateway });
  const record = await tx.db
    .selectFrom('certificates')
    .select('epoch')
    .where('site_id', '=', site)
    .where('gateway_id', '=', gateway)
    .executeTakeFirst();
  if (certificates === undefined || record === undefined) {
    throw refused('what it granted is gone. Ask for a new one');
  }
  return { site, gateway, epoch: record.epoch, certificates };
};

const unknownCode = (): HoldfastError => refused('it is not known here. Ask for a new one');

const refused = (why: string): HoldfastError =>
  new HoldfastError('CLAIM_CODE_INVALID', `This code cannot be used: ${why}`);
