/** Names in certificates: `O=<fleet>, OU=<site>, CN=<name>`. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  AttributeTypeAndValue,
  AttributeValue,
  Name,
  RelativeDistinguishedName,
} from '@peculiar/asn1-x509';
import { nameTypes } from './oids.js';

/** Attributes in their order, one to each relative name. */
export type DistinguishedName = readonly (readonly [type: string, value: string])[];

export type NameType = keyof typeof nameTypes;

/** A part that is undefined is left out; the order is that of the arguments' meaning: O, OU, CN, serial number. */
export interface NameParts {
  readonly organization?: string | undefined;
  readonly unit?: string | undefined;
  readonly commonName?: string | undefined;
  /** Of a device, as its manufacturer counts (IEEE 802.1AR). */
  readonly serialNumber?: string | undefined;
}

export const distinguishedName = ({
  organization,
  unit,
  commonName,
  serialNumber,
}: NameParts): DistinguishedName => {
  const parts: [string, string | undefined][] = [
    [nameTypes.organization, organization],
    [nameTypes.unit, unit],
    [nameTypes.commonName, commonName],
    [nameTypes.serialNumber, serialNumber],
  ];
  return parts.filter((part): part is [string, string] => part[1] !== undefined);
};

/** Errors: CERTIFICATE_INVALID for a relative name of several attributes, which nobody issues and verifiers treat differently. */
export const parseName = (name: Name): DistinguishedName =>
  [...name].map((relative) => {
    const [attribute] = relative;
    if (relative.length !== 1 || attribute === undefined) {
      throw new HoldfastError('CERTIFICATE_INVALID', 'A name has a part of several attributes');
    }
    return [attribute.type, attribute.value.toString()] as const;
  });

/** Always UTF8String: two encodings of one name would differ for verifiers that compare bytes. */
export const encodeName = (name: DistinguishedName): Name =>
  new Name(
    name.map(
      ([type, value]) =>
        new RelativeDistinguishedName([
          new AttributeTypeAndValue({ type, value: new AttributeValue({ utf8String: value }) }),
        ]),
    ),
  );

/** The one value of this type; undefined when there is none, or more than one. */
export const nameField = (name: DistinguishedName, type: NameType): string | undefined => {
  const values = name.filter(([oid]) => oid === nameTypes[type]);
  return values.length === 1 ? values[0]?.[1] : undefined;
};

export const isNameEqual = (a: DistinguishedName, b: DistinguishedName): boolean =>
  a.length === b.length && isWithin(a, b);

/** Whether `name` begins with every part of `base`: what a directory-name constraint asks (RFC 5280, 4.2.1.10). */
export const isWithin = (name: DistinguishedName, base: DistinguishedName): boolean =>
  base.every(([type, value], i) => name[i]?.[0] === type && name[i]?.[1] === value);
