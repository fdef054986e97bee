/**
 * Certificates that devices were made with: they lead to an authority of their manufacturer, which is trusted for nothing else than
 * to say which of its devices this is.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Certificate, parseCertificate, parseCertificates } from './certificate.js';
import { buildChain, checkConstraints, checkLinks } from './chain.js';
import { isAcceptable } from './csr.js';
import { nameField } from './distinguished-name.js';
import { keyUsages } from './oids.js';
import { type Refusal, refuse } from './refusal.js';

export interface ManufacturerRequest {
  /** What the device presented in DER, its own certificate first. */
  readonly presented: readonly Uint8Array[];
  /** The authorities of one manufacturer. */
  readonly authorities: readonly Certificate[];
  /** Epoch ms; `unchecked` while the clock is untrusted. */
  readonly at: number | 'unchecked';
  /** By the issuer's subject key id and the serial number. */
  readonly isRevoked?: (issuerKeyId: string, serial: string) => boolean;
}

export interface ManufacturedDevice {
  readonly refused?: never;
  /** SHA-256 of the device's certificate in hexadecimal. */
  readonly sha256: string;
  /** The serial number attribute of its name (IEEE 802.1AR), else the common name. */
  readonly name: string;
}

const mostPresented = 8;
const mostAuthorities = 8;
/** Device, two authorities, and the one that is trusted. */
const longestChain = 4;
const anyExtendedKeyUsage = '2.5.29.37.0';

/** Says which device this is, by its manufacturer. Pure; never throws. */
export const verifyManufacturer = (request: ManufacturerRequest): ManufacturedDevice | Refusal => {
  const presented = parseAll(request.presented.slice(0, mostPresented));
  const [leaf, ...sent] = presented ?? [];
  if (leaf === undefined) return refuse('malformed', 'a certificate cannot be parsed');
  for (const authority of request.authorities) {
    const chain = buildChain(leaf, sent, authority, longestChain);
    if (chain === undefined) continue;
    const refusal = checkLinks(chain) ?? checkConstraints(chain) ?? checkUsage(leaf);
    if (refusal !== undefined) return refusal;
    for (const [i, { notBefore, notAfter, serial }] of chain.entries()) {
      const keyId = chain[i + 1]?.extensions.subjectKeyId;
      if (keyId !== undefined && request.isRevoked?.(keyId, serial) === true) {
        return refuse('revoked', i === 0 ? 'it is revoked' : 'its issuer is revoked');
      }
      if (request.at === 'unchecked') continue;
      const which = i === 0 ? 'it' : 'an authority in its chain';
      if (request.at < notBefore) return refuse('not-yet-valid', `${which} is not yet valid`);
      if (request.at > notAfter) return refuse('expired', `${which} has expired`);
    }
    const name = nameField(leaf.subject, 'serialNumber') ?? nameField(leaf.subject, 'commonName');
    if (name === undefined) return refuse('name', 'it names no device');
    return { sha256: leaf.sha256, name };
  }
  return refuse('chain', 'it does not lead to an authority of the manufacturer');
};

/**
 * The authorities of a manufacturer in a PEM text, fit to be trusted for its devices. Errors: CERTIFICATE_INVALID, which says of which
 * certificate and why.
 */
export const parseAuthorities = (
  pem: string,
  { root, at }: { readonly root: Certificate; readonly at: number },
): Certificate[] => {
  const authorities = parseCertificates(pem);
  if (authorities.length === 0 || authorities.length > mostAuthorities) {
    throw invalid(`there must be 1 to ${mostAuthorities} certificates in PEM`);
  }
  for (const certificate of authorities) {
    const problem = problemOf(certificate, root, at);
    if (problem === undefined) continue;
    const name = nameField(certificate.subject, 'commonName') ?? certificate.sha256;
    throw invalid(`"${name}" ${problem}`);
  }
  return authorities;
};

const problemOf = (
  { extensions, notAfter, publicKey, x509 }: Certificate,
  root: Certificate,
  at: number,
): string | undefined => {
  if (!extensions.isCa || !extensions.maySignCertificates || !extensions.subjectKeyId) {
    return "is no authority: give the certificate that signs the devices', not one of a device";
  }
  if (!isAcceptable(publicKey))
    return 'has a key that is neither P-256 nor RSA of 2048 to 4096 bits';
  if (at > notAfter) return `expired on ${new Date(notAfter).toISOString().slice(0, 10)}`;
  // Else every device of every site could enrol again wherever it likes.
  if (x509.verify(root.publicKey)) return 'is one of this fleet, not of a manufacturer';
  return undefined;
};

const checkUsage = ({ extensions }: Certificate): Refusal | undefined => {
  const usages = extensions.extendedKeyUsage;
  if (usages === undefined) return undefined;
  if (usages.includes(keyUsages.clientAuth) || usages.includes(anyExtendedKeyUsage)) {
    return undefined;
  }
  return refuse('usage', 'it is not for a client of TLS');
};

const parseAll = (presented: readonly Uint8Array[]): Certificate[] | undefined => {
  try {
    return presented.map((der) => parseCertificate(der));
  } catch {
    return undefined;
  }
};

const invalid = (why: string) =>
  new HoldfastError('CERTIFICATE_INVALID', `A manufacturer's authorities cannot be used: ${why}`);
