/** A certificate, parsed as far as Holdfast decides on it. */
import { type KeyObject, X509Certificate } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { AsnConvert } from '@peculiar/asn1-schema';
import { Certificate as AsnCertificate } from '@peculiar/asn1-x509';
import { type DistinguishedName, parseName } from './distinguished-name.js';
import { type Extensions, parseExtensions } from './extensions.js';

export interface Certificate {
  readonly der: Uint8Array;
  readonly pem: string;
  /** SHA-256 of the DER in hexadecimal: the fingerprint that codes carry of the root. */
  readonly sha256: string;
  /** In lower-case hexadecimal without leading zeros. */
  readonly serial: string;
  readonly subject: DistinguishedName;
  readonly issuer: DistinguishedName;
  /** Epoch ms, both ends included. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly signatureAlgorithm: string;
  readonly publicKey: KeyObject;
  readonly extensions: Extensions;
  /** For signatures and host names, which OpenSSL knows best. */
  readonly x509: X509Certificate;
}

/** More than any certificate of ours needs; a bound for what comes from outside. */
const mostBytes = 16 * 1024;

/** Parses DER, or the first certificate of a PEM text. Errors: CERTIFICATE_INVALID. */
export const parseCertificate = (input: Uint8Array | string): Certificate => {
  if (input.length > mostBytes) throw invalid('it is larger than 16 KiB');
  try {
    const x509 = new X509Certificate(input);
    const der = new Uint8Array(x509.raw);
    const { tbsCertificate: tbs, signatureAlgorithm } = AsnConvert.parse(der, AsnCertificate);
    return {
      der,
      pem: x509.toString(),
      sha256: x509.fingerprint256.replaceAll(':', '').toLowerCase(),
      serial: normaliseSerial(x509.serialNumber),
      subject: parseName(tbs.subject),
      issuer: parseName(tbs.issuer),
      notBefore: tbs.validity.notBefore.getTime().getTime(),
      notAfter: tbs.validity.notAfter.getTime().getTime(),
      signatureAlgorithm: signatureAlgorithm.algorithm,
      publicKey: x509.publicKey,
      extensions: parseExtensions([...(tbs.extensions ?? [])], x509.keyUsage),
      x509,
    };
  } catch (error) {
    throw invalid('it cannot be parsed', error);
  }
};

/** Every certificate of a PEM text, in its order. Errors: CERTIFICATE_INVALID. */
export const parseCertificates = (pem: string): Certificate[] =>
  (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((block) =>
    parseCertificate(block),
  );

/** A chain as TLS options take it: the certificates' PEM, one after the other. */
export const pemChain = (...certificates: readonly Certificate[]): string =>
  certificates
    .map(({ pem }) => pem.trimEnd())
    .join('\n')
    .concat('\n');

/** Serial numbers are compared as text, so one form: lower case, no leading zeros, no colons. */
export const normaliseSerial = (serial: string): string =>
  serial
    .replaceAll(':', '')
    .toLowerCase()
    .replace(/^0+(?=.)/, '');

const invalid = (why: string, cause?: unknown) =>
  new HoldfastError('CERTIFICATE_INVALID', `This is no certificate that can be used: ${why}`, {
    cause,
  });
