/** Signatures of the plan-signing certificate over JSON: a compact JWS (RFC 7515, ES256) that brings its certificate along. */
import { createHash } from 'node:crypto';
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { CompactSign, compactVerify, decodeProtectedHeader } from 'jose';
import { type Certificate, parseCertificate } from '../pki/certificate.js';
import type { KeyPair } from '../pki/keys.js';
import { type VerifyRequest, verifyChain } from '../pki/verify.js';

/** The plan-signing certificate and its key. */
export interface DocumentSigner {
  readonly certificate: Certificate;
  readonly key: KeyPair;
}

/** Whom to believe: the fleet's root, dates as far as the clock is trusted, and what is revoked. */
export type SignatureTrust = Pick<VerifyRequest, 'root' | 'at' | 'isRevoked'>;

/** What is signed says so in its header, so that one cannot be passed off as another. */
export type SignedType = 'holdfast-plan' | 'holdfast-orders' | 'holdfast-time';

export interface Verified {
  readonly payload: unknown;
  /** SHA-256 of the payload's bytes in hexadecimal; the signature differs each time, the payload does not. */
  readonly sha256: string;
  /** Who signed it. */
  readonly signer: Certificate;
}

/** The largest JWS that is looked at, in characters; the link's messages are smaller. */
export const mostJwsLength = 4 * 1024 * 1024;

export const signDocument = (
  { certificate, key }: DocumentSigner,
  type: SignedType,
  payload: unknown,
): Promise<string> =>
  new CompactSign(Buffer.from(canonicalJson(payload)))
    .setProtectedHeader({
      alg: 'ES256',
      typ: type,
      x5c: [Buffer.from(certificate.der).toString('base64')],
    })
    .sign(key.privateKey);

/** Errors: `code`, with what is wrong. */
export const verifyDocument = async (
  jws: string,
  type: SignedType,
  trust: SignatureTrust,
  code: ErrorCode,
): Promise<Verified> => {
  const refuse = (why: string, cause?: unknown) =>
    new HoldfastError(code, `The signature of this ${type} is refused: ${why}`, { cause });
  if (jws.length > mostJwsLength) throw refuse('it is larger than 4 MiB');
  const certificate = certificateOf(jws, type);
  if (typeof certificate === 'string') throw refuse(certificate);
  const verdict = verifyChain({ ...trust, certificate, role: 'plan-signer' });
  if (verdict.refused !== undefined) throw refuse(verdict.message);
  try {
    const { payload } = await compactVerify(jws, certificate.publicKey, { algorithms: ['ES256'] });
    return {
      payload: JSON.parse(Buffer.from(payload).toString('utf8')),
      sha256: createHash('sha256').update(payload).digest('hex'),
      signer: certificate,
    };
  } catch (error) {
    throw refuse(messageOf(error), error);
  }
};

/** The certificate in a JWS's header, or what is wrong with it. */
const certificateOf = (jws: string, type: SignedType): Certificate | string => {
  try {
    const { typ, x5c } = decodeProtectedHeader(jws);
    if (typ !== type) return 'it is signed as something else';
    const [certificate, ...others] = x5c ?? [];
    if (certificate === undefined || others.length > 0) return 'it does not bring one certificate';
    return parseCertificate(Buffer.from(certificate, 'base64'));
  } catch {
    return 'its header cannot be read';
  }
};
