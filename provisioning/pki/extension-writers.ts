/** The extensions that we put into certificates, beside the key ids that every one has. */
import 'reflect-metadata';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { AsnConvert } from '@peculiar/asn1-schema';
import {
  GeneralName,
  GeneralSubtree,
  GeneralSubtrees,
  id_ce_nameConstraints,
  NameConstraints,
} from '@peculiar/asn1-x509';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import { type DistinguishedName, encodeName } from './distinguished-name.js';

export const caUsage = () =>
  new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true);

export const leaf = (publicKey: KeyObject, usages: readonly string[]) => [
  new BasicConstraintsExtension(false, undefined, true),
  new KeyUsagesExtension(
    // TLS 1.2 with an RSA key may be negotiated without forward secrecy by old stacks, which then need encipherment.
    publicKey.asymmetricKeyType === 'rsa'
      ? KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment
      : KeyUsageFlags.digitalSignature,
    true,
  ),
  new ExtendedKeyUsageExtension([...usages]),
];

/** Not critical: small TLS stacks reject a critical one, and OpenSSL enforces both. */
export const onlyNamesWithin = (base: DistinguishedName) =>
  new Extension(
    id_ce_nameConstraints,
    false,
    AsnConvert.serialize(
      new NameConstraints({
        permittedSubtrees: new GeneralSubtrees([
          new GeneralSubtree({ base: new GeneralName({ directoryName: encodeName(base) }) }),
        ]),
      }),
    ),
  );

export const namesOf = (hosts: readonly string[]) =>
  new SubjectAlternativeNameExtension(
    hosts.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
  );
