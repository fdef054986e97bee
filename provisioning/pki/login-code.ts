/**
 * Login codes: what a program prints once, on its first start, for the person who is to use its API: address, token and the fingerprint
 * of the only root to trust, so that logging in trusts nothing it was not told.
 *
 * Form: `hfl1-`, then base64url of: kind (1 byte, c or g), fingerprint (32), length of the token (1), token, address, checksum (3). The
 * checksum tells a typing mistake from a code that holds no more.
 */
import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

export interface LoginCode {
  /** Whose API it is: the control plane's or a gateway's. */
  readonly kind: 'cloud' | 'gateway';
  /** `host:port`. */
  readonly address: string;
  readonly token: string;
  /** SHA-256 of the fleet's root certificate in hexadecimal. */
  readonly rootSha256: string;
}

const prefix = 'hfl1-';
const kinds = { cloud: 'c', gateway: 'g' } as const;
const headBytes = 1 + 32 + 1;
const checksumBytes = 3;

export const formatLoginCode = ({ kind, address, token, rootSha256 }: LoginCode): string => {
  const tokenBytes = Buffer.from(token);
  if (tokenBytes.length === 0 || tokenBytes.length > 255) throw invalid('the token is too long');
  const body = Buffer.concat([
    Buffer.from(kinds[kind]),
    Buffer.from(rootSha256, 'hex'),
    Buffer.from([tokenBytes.length]),
    tokenBytes,
    Buffer.from(address),
  ]);
  return prefix + Buffer.concat([body, checksum(body)]).toString('base64url');
};

/** Errors: LOGIN_CODE_INVALID. */
export const parseLoginCode = (text: string): LoginCode => {
  const code = text.trim();
  if (!code.startsWith(prefix)) throw invalid(`it does not begin with ${prefix}`);
  const all = Buffer.from(code.slice(prefix.length), 'base64url');
  const bytes = all.subarray(0, Math.max(0, all.length - checksumBytes));
  if (!checksum(bytes).equals(all.subarray(bytes.length))) {
    throw invalid('it was mistyped or is not whole. Copy it from its first letter to its last');
  }
  const tokenBytes = bytes[headBytes - 1] ?? 0;
  const address = bytes.subarray(headBytes + tokenBytes).toString();
  const kind = bytes[0] === kinds.cloud.charCodeAt(0) ? 'cloud' : 'gateway';
  const isKnownKind = String.fromCharCode(bytes[0] ?? 0) === kinds[kind];
  if (!isKnownKind || tokenBytes === 0 || !/^\S+:\d{1,5}$/.test(address)) {
    throw invalid('it is not whole. Copy it from its first letter to its last');
  }
  return {
    kind,
    rootSha256: bytes.subarray(1, 33).toString('hex'),
    token: bytes.subarray(headBytes, headBytes + tokenBytes).toString(),
    address,
  };
};

const checksum = (body: Uint8Array): Buffer =>
  createHash('sha256').update(body).digest().subarray(0, checksumBytes);

const invalid = (why: string) =>
  new HoldfastError('LOGIN_CODE_INVALID', `This login code cannot be used: ${why}.`);
