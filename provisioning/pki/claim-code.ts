/**
 * Claim codes: what a person carries from the fleet to a gateway or a device so that it may enrol once. A code has the secret and the
 * fingerprint of the only root to trust on first contact; a gateway's also the address (DESIGN.md, "Ports").
 *
 * Form: `hfg1-` or `hfd1-`, then Crockford's base32 in groups of six of: secret (10 bytes), fingerprint (32), address (UTF-8, may be
 * empty), checksum (3). The checksum tells a typing mistake from a code that is not known.
 */
import { createHash, randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { fromBase32, toBase32 } from './base32.js';

export type ClaimKind = 'gateway' | 'device';

export interface ClaimCode {
  readonly kind: ClaimKind;
  /** 80 random bits in base32; show it to nobody but the server that is to grant the claim. */
  readonly secret: string;
  /** SHA-256 of the fleet's root certificate in hexadecimal. */
  readonly rootSha256: string;
  /** `host:port` of the first contact: always in a gateway's code, in a device's where its gateway is known. */
  readonly address: string | undefined;
}

const prefixes: Readonly<Record<ClaimKind, string>> = { gateway: 'hfg1', device: 'hfd1' };
const secretBytes = 10;
const fingerprintBytes = 32;
const checksumBytes = 3;
const mostAddressBytes = 255;

/** A new secret: 80 random bits. */
export const createSecret = (): string => toBase32(randomBytes(secretBytes));

/** Errors: CLAIM_CODE_INVALID for parts that are not what they should be, REQUEST_INVALID for an address without a port. */
export const formatClaimCode = ({ kind, secret, rootSha256, address }: ClaimCode): string => {
  if (address !== undefined) parseAddress(address);
  if (kind === 'gateway' && address === undefined) throw invalid('a gateway code needs an address');
  const secretPart = fromBase32(secret);
  const fingerprint = Buffer.from(rootSha256, 'hex');
  if (secretPart?.length !== secretBytes) throw invalid('the secret is not 80 bits');
  if (fingerprint.length !== fingerprintBytes) throw invalid('the fingerprint is no SHA-256');
  const body = Buffer.concat([secretPart, fingerprint, Buffer.from(address ?? '')]);
  const digits = toBase32(Buffer.concat([body, checksum(kind, body)]));
  return [prefixes[kind], ...(digits.match(/.{1,6}/g) ?? [])].join('-');
};

/**
 * Reads a code as a person typed it: case, spaces and the places of the dashes do not matter, O and I are read as 0 and 1. Errors:
 * CLAIM_CODE_INVALID, whose message says what to do.
 */
export const parseClaimCode = (text: string, expected?: ClaimKind): ClaimCode => {
  const compact = text.toLowerCase().replace(/[\s-]/g, '');
  const kind = kindOf(compact);
  if (kind === undefined) {
    throw invalid(
      `it begins with neither ${prefixes.gateway}- nor ${prefixes.device}-. Copy it whole, from its first letter on`,
    );
  }
  if (expected !== undefined && kind !== expected) {
    throw invalid(
      `it is for a ${kind}, and a ${expected} is to be enrolled. Ask for a ${expected} code`,
    );
  }
  const digits = compact.slice(prefixes[kind].length);
  if (/[^0-9a-tv-z]/.test(digits)) {
    throw invalid('it has a sign that no code has. Codes are made of digits and letters without U');
  }
  const bytes = fromBase32(digits);
  if (bytes === undefined || bytes.length < secretBytes + fingerprintBytes + checksumBytes) {
    throw invalid('a part of it is missing or doubled. Copy it whole');
  }
  const body = bytes.subarray(0, -checksumBytes);
  if (!checksum(kind, body).equals(bytes.subarray(-checksumBytes))) {
    throw invalid('it was mistyped or cut off. Compare it with the original, group by group');
  }
  const address = body.subarray(secretBytes + fingerprintBytes).toString('utf8');
  if (kind === 'gateway' && address === '') throw invalid('it has no address. Ask for a new one');
  return {
    kind,
    secret: toBase32(body.subarray(0, secretBytes)),
    rootSha256: body.subarray(secretBytes, secretBytes + fingerprintBytes).toString('hex'),
    address: address === '' ? undefined : address,
  };
};

/** What is stored of a secret: its hash, bound to one site, so that a row copied to another site grants nothing. Hexadecimal. */
export const hashClaim = (secret: string, site: string): string => {
  const bytes = fromBase32(secret);
  if (bytes?.length !== secretBytes) throw invalid('the secret is not 80 bits');
  return createHash('sha256').update(bytes).update('\0').update(site).digest('hex');
};

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`, with an IPv6 address in brackets. Errors: REQUEST_INVALID. */
export const parseAddress = (text: string): Address => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port < 1 || port > 65_535 || text.length > mostAddressBytes) {
    throw new HoldfastError('REQUEST_INVALID', `"${text}" is no address: it must be host:port`);
  }
  return { host, port };
};

/** `host:port`, an IPv6 address in brackets. */
export const formatAddress = ({ host, port }: Address): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

const kindOf = (compact: string): ClaimKind | undefined => {
  if (compact.startsWith(prefixes.gateway)) return 'gateway';
  return compact.startsWith(prefixes.device) ? 'device' : undefined;
};

const checksum = (kind: ClaimKind, body: Uint8Array): Buffer =>
  createHash('sha256').update(prefixes[kind]).update(body).digest().subarray(0, checksumBytes);

const invalid = (why: string) =>
  new HoldfastError('CLAIM_CODE_INVALID', `This code cannot be used: ${why}.`, {
    data: { next: 'copy the whole code again, or ask for a new one' },
  });
