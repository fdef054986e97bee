/** Issues every certificate of a fleet (DESIGN.md, "Identity"). */
import 'reflect-metadata';
import { type KeyObject, randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  type Extension,
  Name,
  PublicKey,
  SubjectKeyIdentifierExtension,
  type X509CertificateCreateWithKeyParams,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { type Certificate, parseCertificate } from './certificate.js';
import {
  type DistinguishedName,
  distinguishedName,
  encodeName,
  type NameParts,
  nameField,
} from './distinguished-name.js';
import { caUsage, leaf, namesOf, onlyNamesWithin } from './extension-writers.js';
import type { KeyPair } from './keys.js';
import { keyUsages } from './oids.js';
import { generatorKey, type SigningKey, signingAlgorithm } from './signing-key.js';

/** A certificate and the key that signs with it. */
export interface Authority<K extends SigningKey = SigningKey> {
  readonly certificate: Certificate;
  readonly key: K;
}

const dayMs = 86_400_000;
/** How long certificates live unless the caller says otherwise, in milliseconds. */
export const lifetimesMs = {
  root: 20 * 365 * dayMs,
  siteCa: 365 * dayMs,
  gateway: 365 * dayMs,
  server: 365 * dayMs,
  planSigner: 365 * dayMs,
  /** For devices that do not renew by themselves, and for those that do. */
  device: 365 * dayMs,
  renewingDevice: 7 * dayMs,
} as const;

/** Certificates begin earlier than they are made, since the other side's clock may be behind: by an hour, or a little of a short life. */
const backdatedMs = (lifetimeMs: number): number => Math.min(3_600_000, lifetimeMs / 24);

interface Issue {
  /** Epoch ms. */
  readonly now: number;
  readonly lifetimeMs?: number;
}

/** The fleet's root: self-signed. */
export const issueRoot = (
  key: KeyPair,
  { fleet, now, lifetimeMs = lifetimesMs.root }: Issue & { readonly fleet: string },
): Promise<Certificate> =>
  issue({
    by: {
      key,
      name: distinguishedName({ organization: fleet, commonName: 'Holdfast fleet root' }),
    },
    subject: { organization: fleet, commonName: 'Holdfast fleet root' },
    publicKey: key.publicKey,
    period: [now, lifetimeMs],
    extensions: [new BasicConstraintsExtension(true, undefined, true), caUsage()],
  });

/** A site's CA: may sign no other CA, and only names of its site. */
export const issueSiteCa = (
  root: Authority,
  publicKey: KeyObject,
  { site, now, lifetimeMs = lifetimesMs.siteCa }: Issue & { readonly site: string },
): Promise<Certificate> => {
  const organization = fleetOf(root.certificate);
  return issue({
    by: issuer(root),
    subject: { organization, unit: site, commonName: 'Holdfast site CA' },
    publicKey,
    period: [now, lifetimeMs],
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      caUsage(),
      onlyNamesWithin(distinguishedName({ organization, unit: site })),
    ],
  });
};

/** A gateway's certificate for the link. */
export const issueGateway = (
  root: Authority,
  publicKey: KeyObject,
  options: Issue & { readonly site: string; readonly gateway: string },
): Promise<Certificate> =>
  issue({
    by: issuer(root),
    subject: {
      organization: fleetOf(root.certificate),
      unit: options.site,
      commonName: options.gateway,
    },
    publicKey,
    period: [options.now, options.lifetimeMs ?? lifetimesMs.gateway],
    extensions: leaf(publicKey, [keyUsages.clientAuth, keyUsages.gateway]),
  });

/** The certificate that plan heads and order batches are signed under. */
export const issuePlanSigner = (
  root: Authority,
  publicKey: KeyObject,
  { now, lifetimeMs = lifetimesMs.planSigner }: Issue,
): Promise<Certificate> =>
  issue({
    by: issuer(root),
    subject: { organization: fleetOf(root.certificate), commonName: 'Holdfast plan signing' },
    publicKey,
    period: [now, lifetimeMs],
    extensions: leaf(publicKey, [keyUsages.planSigning]),
  });

/** The control plane's server certificate, for all of its ports. `hosts` are DNS names and IP addresses. */
export const issueControlPlane = (
  root: Authority,
  publicKey: KeyObject,
  { hosts, now, lifetimeMs = lifetimesMs.server }: Issue & { readonly hosts: readonly string[] },
): Promise<Certificate> =>
  issue({
    by: issuer(root),
    subject: { organization: fleetOf(root.certificate), commonName: 'Holdfast control plane' },
    publicKey,
    period: [now, lifetimeMs],
    extensions: [...leaf(publicKey, [keyUsages.serverAuth]), namesOf(hosts)],
  });

/** A gateway's server certificate, issued on site. `hosts` are DNS names and IP addresses. */
export const issueGatewayServer = (
  siteCa: Authority,
  publicKey: KeyObject,
  options: Issue & { readonly gateway: string; readonly hosts: readonly string[] },
): Promise<Certificate> =>
  issue({
    by: issuer(siteCa),
    subject: { ...siteOf(siteCa.certificate), commonName: options.gateway },
    publicKey,
    period: [options.now, options.lifetimeMs ?? lifetimesMs.server],
    extensions: [...leaf(publicKey, [keyUsages.serverAuth]), namesOf(options.hosts)],
  });

/** A device's certificate: clientAuth alone, no alternative name. */
export const issueDevice = (
  siteCa: Authority,
  publicKey: KeyObject,
  { device, now, lifetimeMs = lifetimesMs.device }: Issue & { readonly device: string },
): Promise<Certificate> =>
  issue({
    by: issuer(siteCa),
    subject: { ...siteOf(siteCa.certificate), commonName: device },
    publicKey,
    period: [now, lifetimeMs],
    extensions: leaf(publicKey, [keyUsages.clientAuth]),
  });

interface Order {
  readonly by: { readonly key: SigningKey; readonly name: DistinguishedName };
  readonly subject: NameParts;
  readonly publicKey: KeyObject;
  readonly period: readonly [now: number, lifetimeMs: number];
  readonly extensions: readonly Extension[];
}

const issue = async ({ by, subject, publicKey, period, extensions }: Order) => {
  const [now, lifetimeMs] = period;
  const subjectKey = toPublicKey(publicKey);
  const { handle, crypto } = generatorKey(by.key);
  const content: X509CertificateCreateWithKeyParams = {
    serialNumber: randomSerial(),
    subject: new Name(encodeName(distinguishedName(subject))),
    issuer: new Name(encodeName(by.name)),
    notBefore: new Date(now - backdatedMs(lifetimeMs)),
    notAfter: new Date(now + lifetimeMs),
    publicKey: subjectKey,
    signingKey: handle,
    signingAlgorithm,
    extensions: [
      ...extensions,
      await SubjectKeyIdentifierExtension.create(subjectKey),
      await AuthorityKeyIdentifierExtension.create(toPublicKey(by.key.publicKey)),
    ],
  };
  const certificate = await X509CertificateGenerator.create(content, crypto);
  return parseCertificate(new Uint8Array(certificate.rawData));
};

/** 126 random bits in 16 bytes: never negative and never with a leading zero, so that every program shows the same digits. */
const randomSerial = (): string => {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
};

const toPublicKey = (key: KeyObject) =>
  new PublicKey(new Uint8Array(key.export({ type: 'spki', format: 'der' })));

const issuer = ({ certificate, key }: Authority) => ({ key, name: certificate.subject });

const fleetOf = (certificate: Certificate): string =>
  required(nameField(certificate.subject, 'organization'), 'organization (the fleet)');

const siteOf = (siteCa: Certificate) => ({
  organization: fleetOf(siteCa),
  unit: required(nameField(siteCa.subject, 'unit'), 'unit (the site)'),
});

const required = (value: string | undefined, what: string): string => {
  if (value !== undefined) return value;
  throw new HoldfastError('CERTIFICATE_INVALID', `The issuer's certificate names no ${what}`);
};
