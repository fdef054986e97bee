/**
 * Asks the gateway for a new certificate over EST (RFC 7030, 4.2.2), on the strength of the one this device has, also for a while after
 * that has expired. Errors: those of the connection; the code the gateway refuses with; CERTIFICATE_INVALID for an answer that is not
 * a certificate of this device.
 */
import { type ErrorCode, errorCodes } from '@holdfast/protos/errors/codes';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { parseCertsOnly } from '@holdfast/provisioning/pki/certs-only';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import type { KeyPair } from '@holdfast/provisioning/pki/keys';
import { verifyChain } from '@holdfast/provisioning/pki/verify';
import axios from 'axios';
import * as v from 'valibot';
import type { NewCertificate } from './device-keys.js';
import type { GatewayTrust } from './gateway-trust.js';
import type { DeviceIdentity, GatewayAddress } from './identity.js';

export interface EstRequest {
  readonly gateway: Pick<GatewayAddress, 'host' | 'https'>;
  readonly identity: DeviceIdentity;
  readonly key: KeyPair;
  readonly signal: AbortSignal;
}

const timeoutMs = 30_000;
const mostAnswerBytes = 64 * 1024;

export const reEnrol = async (
  trust: Pick<GatewayTrust, 'httpsAgent'>,
  { gateway, identity, key, signal }: EstRequest,
): Promise<NewCertificate> => {
  const { fleet, site, deviceId } = identity;
  const httpsAgent = trust.httpsAgent();
  const { host, https } = gateway;
  const base = `https://${host.includes(':') ? `[${host}]` : host}:${String(https)}/.well-known/est`;
  const ask = async (path: string, body?: string): Promise<Certificate[]> => {
    const response = await axios.request<string>({
      url: `${base}/${path}`,
      method: body === undefined ? 'GET' : 'POST',
      ...(body !== undefined && { data: body, headers: { 'content-type': 'application/pkcs10' } }),
      httpsAgent,
      signal,
      timeout: timeoutMs,
      proxy: false,
      maxRedirects: 0,
      maxContentLength: mostAnswerBytes,
      responseType: 'text',
      transitional: { silentJSONParsing: true, forcedJSONParsing: false },
      validateStatus: () => true,
    });
    if (response.status === 200) return parseCertsOnly(Buffer.from(response.data, 'base64'));
    throw refusalOf(response.data, response.status, response.headers['retry-after']);
  };
  try {
    const name = { organization: fleet, unit: site, commonName: deviceId };
    const request = Buffer.from(await createRequest(key, name)).toString('base64');
    const [certificate] = await ask('simplereenroll', request);
    const authorities = await ask('cacerts');
    return check({ certificate, authorities, identity, key });
  } catch (error) {
    // What the verified connection says is the reason; axios only wraps it.
    throw axios.isAxiosError(error) && error.cause instanceof HoldfastError ? error.cause : error;
  } finally {
    httpsAgent.destroy();
  }
};

interface Answer {
  readonly certificate: Certificate | undefined;
  readonly authorities: readonly Certificate[];
  readonly identity: DeviceIdentity;
  readonly key: KeyPair;
}

/** The answer came over a verified connection; this guards against a gateway's mistake becoming this device's identity. */
const check = ({ certificate, authorities, identity, key }: Answer): NewCertificate => {
  if (certificate === undefined || !certificate.publicKey.equals(key.publicKey)) {
    throw new HoldfastError('CERTIFICATE_INVALID', 'The gateway answered for another key');
  }
  const verdict = verifyChain({
    certificate,
    intermediates: authorities,
    root: parseCertificate(identity.root),
    role: 'device',
    site: identity.site,
    // This device's clock may be the one that is wrong.
    at: 'unchecked',
  });
  const siteCa = authorities.find((authority) => certificate.x509.verify(authority.publicKey));
  if (verdict.refused !== undefined) throw unusable(verdict.message);
  if (verdict.identity.name !== identity.deviceId) throw unusable('it names another device');
  if (siteCa === undefined) throw unusable('it is of an authority that is not named');
  return { certificate, siteCa };
};

const unusable = (why: string) =>
  new HoldfastError('CERTIFICATE_INVALID', `The new certificate cannot be used: ${why}`);

const refusal = v.object({
  code: v.string(),
  message: v.pipe(v.string(), v.maxLength(1_000)),
  /** What a person can do about it. */
  next: v.optional(v.pipe(v.string(), v.maxLength(1_000))),
});

const refusalOf = (body: string, status: number, retryAfter: unknown): HoldfastError => {
  const parsed = v.safeParse(refusal, parsedJson(body));
  const { message, next } = parsed.success ? parsed.output : { message: `HTTP ${String(status)}` };
  const reason = next === undefined ? message : `${message}. ${next}`;
  const code =
    parsed.success && isErrorCode(parsed.output.code) ? parsed.output.code : 'NOT_AUTHORISED';
  const seconds = Number(retryAfter);
  return new HoldfastError(code, `The gateway refuses: ${reason}`, {
    data: { status, ...(seconds > 0 && { retryAfterMs: seconds * 1_000 }) },
  });
};

const parsedJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorCodes, code);
