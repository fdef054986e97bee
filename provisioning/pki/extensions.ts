/** The certificate extensions that Holdfast decides on. */
import { AsnConvert, type OctetString } from '@peculiar/asn1-schema';
import {
  AuthorityKeyIdentifier,
  BasicConstraints,
  type Extension,
  type GeneralSubtrees,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_nameConstraints,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  NameConstraints,
  SubjectKeyIdentifier,
} from '@peculiar/asn1-x509';
import { type DistinguishedName, parseName } from './distinguished-name.js';

export interface Extensions {
  readonly isCa: boolean;
  /** How many CAs may follow below this one; undefined is no limit. */
  readonly pathLength: number | undefined;
  /** Whether the key usage allows certificates to be signed; true where the extension is absent, as RFC 5280 has it. */
  readonly maySignCertificates: boolean;
  /** Object identifiers; undefined where the extension is absent. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly nameConstraints: NameConstraint | undefined;
  /** Hexadecimal. */
  readonly subjectKeyId: string | undefined;
  readonly authorityKeyId: string | undefined;
  /** Critical ones that nothing here understands: such a certificate must be refused. */
  readonly unknownCritical: readonly string[];
}

export interface NameConstraint {
  /** undefined: every directory name. */
  readonly permitted: readonly DistinguishedName[] | undefined;
  readonly excluded: readonly DistinguishedName[];
  /** Whether it constrains other forms than directory names, which no CA of ours does. */
  readonly hasOtherForms: boolean;
}

const known: ReadonlySet<string> = new Set([
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_nameConstraints,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
]);

/**
 * Throws whatever the parser throws on malformed ones, and on an extension that comes twice. The extended key usage is given, as
 * OpenSSL read it: the ASN.1 library cannot read identifiers whose numbers have 128 bits.
 */
export const parseExtensions = (
  list: readonly Extension[],
  extendedKeyUsage: readonly string[] | undefined,
): Extensions => {
  const byId = new Map(list.map((extension) => [extension.extnID, extension]));
  if (byId.size !== list.length) throw new Error('an extension comes twice');
  const parse = <T>(id: string, type: new () => T): T | undefined => {
    const extension = byId.get(id);
    return extension && AsnConvert.parse(extension.extnValue, type);
  };
  const basic = parse(id_ce_basicConstraints, BasicConstraints);
  const usage = parse(id_ce_keyUsage, KeyUsage);
  const constraints = parse(id_ce_nameConstraints, NameConstraints);
  const keyId = parse(id_ce_authorityKeyIdentifier, AuthorityKeyIdentifier)?.keyIdentifier;
  return {
    isCa: basic?.cA ?? false,
    pathLength: basic?.pathLenConstraint,
    maySignCertificates:
      usage === undefined || (usage.toNumber() & KeyUsageFlags.keyCertSign) !== 0,
    extendedKeyUsage,
    nameConstraints: constraints && parseConstraints(constraints),
    subjectKeyId: hexOf(parse(id_ce_subjectKeyIdentifier, SubjectKeyIdentifier)),
    authorityKeyId: hexOf(keyId),
    unknownCritical: list.filter((e) => e.critical && !known.has(e.extnID)).map((e) => e.extnID),
  };
};

const hexOf = (octets: OctetString | undefined): string | undefined =>
  octets && Buffer.from(octets.buffer).toString('hex');

const parseConstraints = ({
  permittedSubtrees,
  excludedSubtrees,
}: NameConstraints): NameConstraint => {
  const names = (subtrees: GeneralSubtrees | undefined) =>
    [...(subtrees ?? [])].flatMap(({ base }) =>
      base.directoryName ? [parseName(base.directoryName)] : [],
    );
  const permitted = names(permittedSubtrees);
  const excluded = names(excludedSubtrees);
  const total = (permittedSubtrees?.length ?? 0) + (excludedSubtrees?.length ?? 0);
  return {
    permitted: permitted.length > 0 ? permitted : undefined,
    excluded,
    hasOtherForms: permitted.length + excluded.length < total,
  };
};
