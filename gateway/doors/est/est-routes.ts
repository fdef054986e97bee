/**
 * EST (RFC 7030 with RFC 8951) on the port for devices: certificates for clients that speak it already. It translates: who may have one
 * is decided by enrolment (a code as HTTP Basic, or the certificate of the manufacturer) and renewal (the certificate that the device has).
 *
 * A label may stand after `est/`. One has a meaning: with `renewing`, a client says that it renews by itself, and gets a certificate that
 * lives for days; without it, one that lives for a year. Nothing is ever pending (202): what is asked is granted or refused at once.
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { parseRequest } from '@holdfast/provisioning/pki/csr';
import { peerChain } from '@holdfast/provisioning/pki/tls-peer';
import type { DeviceEnrolment } from '../../trust/device-enrolment.js';
import type { DeviceRenewal } from '../../trust/device-renewal.js';
import { socketOf } from '../local/http-door.js';
import type { Route, RouteRequest } from '../local/routes.js';
import { basicCredentials } from './basic-credentials.js';
import { readRequest, sendCertificates } from './est-body.js';

export interface EstDeps {
  readonly enrolment: Pick<DeviceEnrolment, 'certify'>;
  readonly renewal: Pick<DeviceRenewal, 'renew'>;
  /** What a device is to trust: the root, and the CAs of the site. */
  readonly authorities: () => readonly Certificate[];
}

/** What is asked of a client that shows neither code nor certificate. */
export const basicChallenge = 'Basic realm="Holdfast", charset="UTF-8"';
/** The label of clients that renew by themselves. */
const renewingLabel = 'renewing';

export const estRoutes = ({ enrolment, renewal, authorities }: EstDeps): readonly Route[] => {
  const cacerts = async ({ response }: RouteRequest): Promise<undefined> =>
    sendCertificates(response, authorities());

  /** Nothing is asked of a request but its key. */
  const csrattrs = async ({ response }: RouteRequest): Promise<undefined> => {
    response.writeHead(204);
    response.end();
  };

  const simpleenroll = async (asked: RouteRequest): Promise<undefined> => {
    const { request, response, params, body } = asked;
    const credentials = readCredentials(request.headers.authorization);
    const csr = readRequest(body as Uint8Array);
    const { certificate } = await enrolment
      .certify({
        secret: credentials?.secret,
        presented: peerChain(socketOf(request)),
        csr,
        ...(credentials && { device: credentials.device || (await nameIn(csr)) }),
        renews: params.get('label') === renewingLabel,
        remoteAddress: request.socket.remoteAddress ?? '',
      })
      .catch(rethrowChallenging);
    return sendCertificates(response, [parseCertificate(certificate)], { isEnrolment: true });
  };

  const simplereenroll = async ({ request, response, body, who }: RouteRequest) => {
    const [shown] = peerChain(socketOf(request));
    // The route's right is that of devices, which are known by their certificates.
    if (who.kind !== 'device' || shown === undefined) throw new TypeError('no certificate');
    const certificate = await renewal.renew(
      { device: who.device, certificate: parseCertificate(shown) },
      readRequest(body as Uint8Array),
    );
    return sendCertificates(response, [certificate], { isEnrolment: true });
  };

  return ['/.well-known/est', '/.well-known/est/:label'].flatMap((base): Route[] => [
    { method: 'GET', path: `${base}/cacerts`, right: 'est.read', handle: cacerts },
    { method: 'GET', path: `${base}/csrattrs`, right: 'est.read', handle: csrattrs },
    {
      method: 'POST',
      path: `${base}/simpleenroll`,
      right: 'est.enrol',
      body: 'bytes',
      handle: simpleenroll,
    },
    {
      method: 'POST',
      path: `${base}/simplereenroll`,
      right: 'est.renew',
      body: 'bytes',
      handle: simplereenroll,
    },
  ]);
};

const nameIn = async (csr: Uint8Array): Promise<string | undefined> =>
  (await parseRequest(csr)).commonName;

const readCredentials = (authorization: string | undefined) => {
  try {
    return basicCredentials(authorization);
  } catch (error) {
    return rethrowChallenging(error);
  }
};

/** A wrong password is told as HTTP tells it, so that clients ask for another. */
const rethrowChallenging = (error: unknown): never => {
  if (
    isHoldfastError(error, 'NOT_AUTHENTICATED') ||
    isHoldfastError(error, 'CLAIM_UNKNOWN') ||
    isHoldfastError(error, 'CLAIM_CODE_INVALID')
  ) {
    throw new HoldfastError('NOT_AUTHENTICATED', error.message, {
      cause: error,
      data: { challenge: basicChallenge, next: 'Ask for a code: holdfast device claim ID' },
    });
  }
  throw error;
};
