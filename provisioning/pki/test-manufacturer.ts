/** A manufacturer of devices, made anew for a test: an authority, one below it, and the certificates that its devices are made with. */
import 'reflect-metadata';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  Name,
  PublicKey,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { type Certificate, parseCertificate, pemChain } from './certificate.js';
import { distinguishedName, encodeName, type NameParts } from './distinguished-name.js';
import { caUsage, leaf } from './extension-writers.js';
import type { Authority } from './issue.js';
import { createKey, type KeyPair, privatePem } from './keys.js';
import { keyUsages } from './oids.js';
import { generatorKey, type SigningKey, signingAlgorithm } from './signing-key.js';

export interface TestManufacturer {
  /** The certificate of the authority at the top. */
  readonly pem: string;
  readonly authority: Authority;
  /** A device with its certificate, the authority in between beside it; as TLS options take them. */
  device(name: NameParts, options?: ManufacturedOptions): Promise<ManufacturedCredentials>;
}

export interface ManufacturedOptions {
  /** Epoch ms; by default a century later. */
  readonly notAfter?: number;
  readonly usages?: readonly string[];
}

export interface ManufacturedCredentials {
  readonly certificate: Certificate;
  readonly key: KeyPair;
  readonly tls: { readonly cert: string; readonly key: string };
}

const centuryMs = 100 * 365 * 86_400_000;

export const createTestManufacturer = async ({
  name = 'Acme',
  now = Date.now(),
}: {
  readonly name?: string;
  readonly now?: number;
} = {}): Promise<TestManufacturer> => {
  const period = [now, now + centuryMs] as const;
  const top = await authorityBelow(undefined, { organization: name, commonName: 'root' }, period);
  const between = await authorityBelow(top, { organization: name, commonName: 'line 1' }, period);
  return {
    pem: top.certificate.pem,
    authority: top,
    device: async (
      subject,
      { notAfter = now + centuryMs, usages = [keyUsages.clientAuth] } = {},
    ) => {
      const key = await createKey();
      const certificate = await sign(between, key, subject, [now, notAfter], false, usages);
      const cert = pemChain(certificate, between.certificate);
      return { certificate, key, tls: { cert, key: privatePem(key) } };
    },
  };
};

const authorityBelow = async (
  issuer: Authority | undefined,
  subject: NameParts,
  period: readonly [number, number],
): Promise<Authority> => {
  const key = await createKey();
  return { certificate: await sign(issuer, key, subject, period, true), key };
};

const sign = async (
  issuer: Authority | undefined,
  key: KeyPair,
  subject: NameParts,
  [notBefore, notAfter]: readonly [number, number],
  isCa: boolean,
  usages: readonly string[] = [],
): Promise<Certificate> => {
  const publicKey = toPublicKey(key);
  const name = encodeName(distinguishedName(subject));
  const { handle, crypto } = generatorKey(issuer?.key ?? key);
  const content = {
    subject: new Name(name),
    issuer: new Name(issuer === undefined ? name : encodeName(issuer.certificate.subject)),
    notBefore: new Date(notBefore),
    notAfter: new Date(notAfter),
    publicKey,
    signingKey: handle,
    signingAlgorithm,
    extensions: [
      ...(isCa
        ? [new BasicConstraintsExtension(true, undefined, true), caUsage()]
        : leaf(key.publicKey, usages)),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(toPublicKey(issuer?.key ?? key)),
    ],
  };
  const certificate = await X509CertificateGenerator.create(content, crypto);
  return parseCertificate(new Uint8Array(certificate.rawData));
};

const toPublicKey = ({ publicKey }: SigningKey) =>
  new PublicKey(new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })));
