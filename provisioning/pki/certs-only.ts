/** Certificates as EST answers them (RFC 7030, 4.1.3): a PKCS#7 (CMS SignedData, RFC 5652) that signs nothing and holds certificates. */
import 'reflect-metadata';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { X509Certificates } from '@peculiar/x509';
import { type Certificate, parseCertificate } from './certificate.js';
import * as der from './der.js';

const signedData = '1.2.840.113549.1.7.2';
const data = '1.2.840.113549.1.7.1';

/** More than a chain of ours with RSA keys ever is. */
const mostBytes = 64 * 1024;
const mostCertificates = 16;

/** In DER, the certificates in the order given. */
export const encodeCertsOnly = (certificates: readonly Certificate[]): Uint8Array =>
  der.sequence(
    der.objectId(signedData),
    der.explicit(
      0,
      der.sequence(
        der.integer(Buffer.from([1])),
        der.set(),
        der.sequence(der.objectId(data)),
        // [0] IMPLICIT of a set: the same tag as an explicit one, around its members.
        der.explicit(0, Buffer.concat(certificates.map((certificate) => certificate.der))),
        der.set(),
      ),
    ),
  );

/** Errors: CERTIFICATE_INVALID. */
export const parseCertsOnly = (input: Uint8Array): Certificate[] => {
  if (input.length > mostBytes) throw invalid('it is larger than 64 KiB');
  let list: X509Certificates;
  try {
    list = new X509Certificates(new Uint8Array(input));
  } catch (error) {
    throw invalid('it cannot be parsed', error);
  }
  if (list.length > mostCertificates) throw invalid('it holds too many certificates');
  return list.map(({ rawData }) => parseCertificate(new Uint8Array(rawData)));
};

const invalid = (why: string, cause?: unknown) =>
  new HoldfastError('CERTIFICATE_INVALID', `This is no PKCS#7 of certificates: ${why}`, { cause });
