/**
 * Takes a site with a one-time code: makes the keys here, sends two certificate requests, keeps what comes back. A repetition with the
 * same code and data folder (the answer was lost, the power went) sends the same keys and gets the same certificates.
 */

import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import {
  type EnrollGatewayRequest,
  type EnrollGatewayResponse,
  SitesClient,
} from '@holdfast/protos/gen/holdfast/v1/sites';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { parseAddress, parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { fetchRoot, type ServerTrust } from '@holdfast/provisioning/pki/first-contact';
import { loadOrCreateKey } from '@holdfast/provisioning/pki/keys';
import { VerifiedChannel } from '@holdfast/provisioning/pki/verified-channel';
import { makeFolder } from '@holdfast/provisioning/storage/make-folder';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { ConnectProxy } from '@holdfast/provisioning/transfer/connect-proxy';
import { grpcTarget } from '@holdfast/provisioning/transfer/grpc-proxy';
import { type GatewayRecord, linkKeyFile, openGatewayRecord } from './gateway-identity.js';
import { createOperatorToken, hashOperatorToken, openDrawnToken } from './operator-token.js';
import { createSiteCaKey, type SiteCaKeyOptions } from './site-ca-key.js';

export interface EnrollGatewayDependencies {
  readonly clock: Clock;
  readonly log: StoreLog;
}

export interface EnrollGatewayOptions extends SiteCaKeyOptions {
  readonly code: string;
  /** Of this program. */
  readonly version: string;
  readonly signal: AbortSignal;
  /** Through this proxy. */
  readonly via?: ConnectProxy | undefined;
}

export interface EnrolledGateway {
  readonly record: GatewayRecord;
  /** To be shown once; only its hash is kept. */
  readonly operatorToken: string;
  readonly rootSha256: string;
}

const callTimeoutMs = 30_000;

/** Errors: CLAIM_CODE_INVALID, GATEWAY_ALREADY_ENROLLED, PEER_REFUSED, CONNECTION_FAILED, and what the control plane answers. */
export const enrollGateway = async (
  { clock, log }: EnrollGatewayDependencies,
  { code, dataDirectory, token, version, signal, via }: EnrollGatewayOptions,
): Promise<EnrolledGateway> => {
  const claim = parseClaimCode(code, 'gateway');
  const stored = await openGatewayRecord(dataDirectory, log);
  if (stored.data !== null) {
    throw new HoldfastError(
      'GATEWAY_ALREADY_ENROLLED',
      `${dataDirectory} is the gateway of site ${stored.data.site} already; enrol another one with another --data`,
    );
  }
  await makeFolder(dataDirectory, 0o700);
  const gatewayKey = await loadOrCreateKey(join(dataDirectory, linkKeyFile));
  const siteCaKey = await createSiteCaKey({ dataDirectory, token });
  const address = claim.address ?? '';
  const trust: ServerTrust = {
    role: 'control-plane',
    root: claim.rootSha256,
    at: clock.trusted ? clock.now() : 'unchecked',
  };
  const root = await fetchRoot({ ...parseAddress(address), trust, signal, via });
  const answer = await callEnroll({ address, via }, { ...trust, root }, signal, {
    secret: claim.secret,
    gatewayCsr: Buffer.from(await createRequest(gatewayKey, { commonName: 'gateway' })),
    siteCaCsr: Buffer.from(await createRequest(siteCaKey, { commonName: 'site CA' })),
    version,
  });
  const operatorToken = createOperatorToken();
  const record: GatewayRecord = {
    fleet: answer.fleet,
    site: answer.site.replace(/^sites\//, ''),
    gateway_id: answer.gatewayId,
    epoch: Number(answer.epoch),
    link_address: answer.linkAddress,
    https_address: answer.httpsAddress,
    gateway_certificate: parseCertificate(answer.gatewayCertificate).pem,
    site_ca_certificate: parseCertificate(answer.siteCaCertificate).pem,
    former_site_cas: [],
    root_certificate: root.pem,
    operator_token_sha256: hashOperatorToken(operatorToken),
  };
  await stored.update(() => record);
  return { record, operatorToken, rootSha256: root.sha256 };
};

/** Where a code leads, and that its control plane answers there; the code stays unused. Errors: CLAIM_CODE_INVALID, PEER_REFUSED, CONNECTION_FAILED. */
export const whoseCode = async ({
  code,
  signal,
  via,
}: Pick<EnrollGatewayOptions, 'code' | 'signal' | 'via'>): Promise<{
  readonly address: string;
  readonly root_sha256: string;
}> => {
  const { address = '', rootSha256 } = parseClaimCode(code, 'gateway');
  const trust = { role: 'control-plane', root: rootSha256, at: 'unchecked' } as const;
  const root = await fetchRoot({ ...parseAddress(address), trust, signal, via });
  return { address, root_sha256: root.sha256 };
};

/** Draws a new token; the one before is worth nothing from then on, at a gateway that runs too. Errors: GATEWAY_NOT_ENROLLED. */
export const resetOperatorToken = async (
  dataDirectory: string,
  log: StoreLog,
): Promise<EnrolledGateway> => {
  const { data } = await openGatewayRecord(dataDirectory, log);
  if (data === null) {
    throw new HoldfastError('GATEWAY_NOT_ENROLLED', `${dataDirectory} holds no gateway yet`);
  }
  const operatorToken = createOperatorToken();
  const drawn = await openDrawnToken(dataDirectory, log);
  const sha256 = hashOperatorToken(operatorToken);
  await drawn.update(() => ({ sha256, drawn_at: Date.now() }));
  return {
    record: data,
    operatorToken,
    rootSha256: parseCertificate(data.root_certificate).sha256,
  };
};

const callEnroll = async (
  { address, via }: { readonly address: string; readonly via: ConnectProxy | undefined },
  trust: ServerTrust & { readonly root: Certificate },
  signal: AbortSignal,
  request: EnrollGatewayRequest,
): Promise<EnrollGatewayResponse> => {
  const credentials = new VerifiedChannel({ trust, host: parseAddress(address).host });
  const { target, options } = grpcTarget(address, via);
  const client = new SitesClient(target, credentials, options);
  try {
    return await new Promise((resolve, reject) => {
      const deadline = new Date(Date.now() + callTimeoutMs);
      const call = client.enrollGateway(
        request,
        new grpc.Metadata(),
        { deadline },
        (error, answer) => {
          if (error === null) resolve(answer);
          else reject(fromServiceError(error, address));
        },
      );
      signal.addEventListener('abort', () => call.cancel(), { once: true });
    });
  } finally {
    client.close();
  }
};
