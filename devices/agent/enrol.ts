/**
 * Enrols this device with its gateway: makes its key here, sends a certificate request with the code's secret, or over a connection made
 * with the certificate of its manufacturer, and keeps the answer.
 *
 * First contact trusts nothing but the root whose fingerprint it was told. Repeated after a break it uses the same key, so that the
 * gateway gives the same certificate; a device that enrols anew with another proof gets another key, since the one before may be why.
 *
 * Errors: those of provisioning/pki's first contact and claim codes; the code the gateway refuses with; `REQUEST_INVALID` when no
 * address is known.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { type ErrorCode, errorCodes } from '@holdfast/protos/errors/codes';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { type EnrolmentAnswer, enrolmentAnswer } from '@holdfast/protos/local/enrolment';
import { parseAddress, parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { createRequest } from '@holdfast/provisioning/pki/csr';
import { verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
import { loadOrCreateKey } from '@holdfast/provisioning/pki/keys';
import { makeFolder } from '@holdfast/provisioning/storage/make-folder';
import axios from 'axios';
import * as v from 'valibot';
import { type DeviceIdentity, firstKeyFile, openIdentityRecord } from './identity.js';
import type { Log } from './log.js';

/** The certificate that the device was made with, and whom to trust, which no code says then. */
export interface MadeWith {
  /** The certificate's chain and its key in PEM. */
  readonly cert: string;
  readonly key: string;
  /** SHA-256 of the fleet's root, hexadecimal. */
  readonly rootSha256: string;
}

export interface EnrolOptions {
  readonly dataDir: string;
  readonly proof: { readonly code: string } | MadeWith;
  /** `host` or `host:port` of the gateway's HTTPS port for devices, where the code has none. */
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
  const { proof } = options;
  const code = 'code' in proof ? parseClaimCode(proof.code, 'device') : undefined;
  const rootSha256 = 'code' in proof ? (code?.rootSha256 ?? '') : proof.rootSha256;
  const address = options.gateway === undefined ? code?.address : withPort(options.gateway);
  if (address === undefined) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `${code === undefined ? 'Nobody said where the gateway is' : 'The code has no address'}: add --gateway HOST:${enrolmentPort}`,
    );
  }
  await makeFolder(options.dataDir);
  const record = await openIdentityRecord(options.dataDir, deps.log);
  const mark = markOf('cert' in proof ? proof.cert : (code?.secret ?? ''));
  const { keyFile = firstKeyFile } =
    record.data === null || record.data.proof === mark
      ? (record.data ?? {})
      : { keyFile: `device-${mark}.key` };
  const key = await loadOrCreateKey(join(options.dataDir, keyFile));
  const csr = toPem(await createRequest(key, { commonName: options.deviceId ?? 'device' }));
  const trust = { rootSha256, ...('cert' in proof && { client: proof }) };
  const answer = await ask(address, trust, {
    ...(code !== undefined && { secret: code.secret }),
    csr,
    model: options.model,
    renews: true,
    ...(options.deviceId !== undefined && { device_id: options.deviceId }),
    ...(options.serialNo !== undefined && { serial_no: options.serialNo }),
    ...(options.firmwareVersion !== undefined && { firmware_version: options.firmwareVersion }),
  });
  checkAnswer(answer, rootSha256, key.publicKey.export({ type: 'spki', format: 'pem' }));
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
    ...(keyFile !== firstKeyFile && { keyFile }),
    proof: mark,
  };
  await record.update(() => identity);
  return identity;
};

/** Tells one proof from another, and nothing of a code, which is used up besides. */
const markOf = (proof: string): string =>
  createHash('sha256').update(proof).digest('hex').slice(0, 12);

/** Where gateways enrol devices unless their configuration says otherwise. */
const enrolmentPort = 8443;

/** `host:port` of what may be a host alone. Errors: REQUEST_INVALID. */
const withPort = (text: string): string => {
  if (isIP(text) === 6) return `[${text}]:${enrolmentPort}`;
  const address = /:\d+$/.test(text) ? text : `${text}:${enrolmentPort}`;
  parseAddress(address);
  return address;
};

const ask = async (
  address: string,
  { rootSha256, client }: { readonly rootSha256: string; readonly client?: MadeWith },
  body: object,
): Promise<EnrolmentAnswer> => {
  const agent = verifiedAgent(
    {
      role: 'gateway-server',
      root: rootSha256,
      // A device that was never switched on has no time to check dates by.
      at: 'unchecked',
    },
    client && { client: { cert: client.cert, key: client.key } },
  );
  try {
    const response = await axios.post<unknown>(`https://${address}/api/v1/enroll`, body, {
      httpsAgent: agent,
      timeout: timeoutMs,
      proxy: false,
      maxRedirects: 0,
      maxContentLength: 262_144,
      validateStatus: () => true,
    });
    if (response.status === 404) {
      throw new HoldfastError('CONNECTION_FAILED', `nothing at ${address} enrols devices`);
    }
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
    const reason = axios.isAxiosError(error) ? (error.cause ?? error) : error;
    if (isHoldfastError(reason) && reason.code !== 'CONNECTION_FAILED') throw reason;
    throw unreachable(address, reason);
  } finally {
    agent.destroy();
  }
};

/** A connection that comes to nothing, as at the port for MQTT, is often one to the wrong port. */
const unreachable = (address: string, cause: unknown): HoldfastError => {
  const { port } = parseAddress(address);
  const why = messageOf(cause);
  const hint =
    port === enrolmentPort
      ? 'Is the gateway switched on, and in the same network?'
      : `Gateways enrol devices at port ${enrolmentPort}, unless they are configured otherwise; this is ${port}`;
  return new HoldfastError(
    'CONNECTION_FAILED',
    `${why.includes(address) ? why : `${address}: ${why}`}. ${hint}`,
    { cause },
  );
};

const refusal = v.object({
  code: v.string(),
  message: v.pipe(v.string(), v.maxLength(1_000)),
  next: v.exactOptional(v.pipe(v.string(), v.maxLength(1_000))),
});

const refusalOf = (body: unknown, status: number): HoldfastError => {
  const parsed = v.safeParse(refusal, body);
  const reason = parsed.success ? parsed.output.message : `HTTP ${String(status)}`;
  const code =
    parsed.success && isErrorCode(parsed.output.code) ? parsed.output.code : 'NOT_AUTHORISED';
  const next = parsed.success ? parsed.output.next : undefined;
  return new HoldfastError(code, `The gateway refuses: ${reason}`, {
    data: { status, ...(next !== undefined && { next }) },
  });
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
