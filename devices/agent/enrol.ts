/**
 * Enrols this device with its gateway: makes its key here, sends a certificate request with the code's secret, keeps the answer.
 *
 * First contact trusts nothing but the root whose fingerprint the code holds. Repeated after a break it uses the same key, so that the
 * gateway gives the same certificate. Errors: those of provisioning/pki's first contact and claim codes; the code the
 * gateway refuses with; `REQUEST_INVALID` when no address is known.
 */
import { X509Certificate } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { type ErrorCode, errorCodes } from '@holdfast/protos/errors/codes';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type EnrolmentAnswer, enrolmentAnswer } from '@holdfast/protos/local/enrolment';
import { parseAddress, parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
import { loadOrCreateKey } from '@holdfast/provisioning/pki/keys';
import axios from 'axios';
import * as v from 'valibot';
import { type DeviceIdentity, keyPath, openIdentityRecord } from './identity.js';
import type { Log } from './log.js';

export interface EnrolOptions {
  readonly dataDir: string;
  readonly code: string;
  /** `host:port` of the gateway's HTTPS port for devices, where the code has none. */
  readonly gateway?: string;
  readonly deviceId?: string;
  readonly model: string;
  readonly serialNo?: string;
  readonly firmwareVersion?: string;
}

const timeoutMs = 30_000;

export const enrol = async (
  deps: { readonly log: Log },
  options: EnrolOptions,
): Promise<DeviceIdentity> => {
  const code = parseClaimCode(options.code, 'device');
  const address = options.gateway ?? code.address;
  if (address === undefined) {
    throw new HoldfastError('REQUEST_INVALID', 'The code has no address: add --gateway host:port');
  }
  await mkdir(options.dataDir, { recursive: true });
  const key = await loadOrCreateKey(keyPath(options.dataDir));
  const csr = toPem(await createRequest(key, { commonName: options.deviceId ?? 'device' }));
  const answer = await ask(address, code.rootSha256, {
    secret: code.secret,
    csr,
    model: options.model,
    renews: true,
    ...(options.deviceId !== undefined && { device_id: options.deviceId }),
    ...(options.serialNo !== undefined && { serial_no: options.serialNo }),
    ...(options.firmwareVersion !== undefined && { firmware_version: options.firmwareVersion }),
  });
  checkAnswer(answer, code.rootSha256, key.publicKey.export({ type: 'spki', format: 'pem' }));
  const identity: DeviceIdentity = {
    fleet: answer.fleet,
    site: answer.site,
    deviceId: answer.device_id,
    model: options.model,
    serialNo: options.serialNo ?? null,
    certificate: answer.certificate,
    siteCa: answer.site_ca,
    root: answer.root,
    gateways: [{ host: parseAddress(address).host, ...answer.ports }],
  };
  const record = await openIdentityRecord(options.dataDir, deps.log);
  await record.update(() => identity);
  return identity;
};

const ask = async (address: string, rootSha256: string, body: object): Promise<EnrolmentAnswer> => {
  const agent = verifiedAgent({
    role: 'gateway-server',
    root: rootSha256,
    // A device that was never switched on has no time to check dates by.
    at: 'unchecked',
  });
  try {
    const response = await axios.post<unknown>(`https://${address}/api/v1/enroll`, body, {
      httpsAgent: agent,
      timeout: timeoutMs,
      proxy: false,
      maxRedirects: 0,
      maxContentLength: 262_144,
      validateStatus: () => true,
    });
    if (response.status !== 200 && response.status !== 201)
      throw refusalOf(response.data, response.status);
    const parsed = v.safeParse(enrolmentAnswer, response.data);
    if (parsed.success) return parsed.output;
    throw new HoldfastError(
      'INTERNAL',
      'The gateway answered with something else than an enrolment',
    );
  } catch (error) {
    // What the verified connection says is the reason; axios only wraps it.
    throw axios.isAxiosError(error) && error.cause instanceof HoldfastError ? error.cause : error;
  } finally {
    agent.destroy();
  }
};

const refusal = v.object({
  code: v.string(),
  message: v.pipe(v.string(), v.maxLength(1_000)),
});

const refusalOf = (body: unknown, status: number): HoldfastError => {
  const parsed = v.safeParse(refusal, body);
  const reason = parsed.success ? parsed.output.message : `HTTP ${String(status)}`;
  const code =
    parsed.success && isErrorCode(parsed.output.code) ? parsed.output.code : 'NOT_AUTHORISED';
  return new HoldfastError(code, `The gateway refuses: ${reason}`, { data: { status } });
};

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorCodes, code);

/** The answer came over a verified connection; this guards against a gateway's mistake becoming this device's identity. */
const checkAnswer = (
  answer: EnrolmentAnswer,
  rootSha256: string,
  publicKey: string | Buffer,
): void => {
  const root = new X509Certificate(answer.root);
  const certificate = new X509Certificate(answer.certificate);
  const isOurs =
    certificate.publicKey.export({ type: 'spki', format: 'pem' }).toString() ===
    publicKey.toString();
  const isRoot = root.fingerprint256.replaceAll(':', '').toLowerCase() === rootSha256;
  if (!isOurs || !isRoot) {
    throw new HoldfastError('PEER_REFUSED', 'The gateway answered with the certificate of another');
  }
};

const toPem = (der: Uint8Array): string => {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
};
