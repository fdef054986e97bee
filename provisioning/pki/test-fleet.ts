/**
 * A fleet with one site, made anew for a test; for the tests of every workspace that need certificates which fit together. Real keys,
 * real certificates, nothing faked.
 */
import 'reflect-metadata';
import { type Extension, Name, PublicKey, X509CertificateGenerator } from '@peculiar/x509';
import { type Certificate, parseCertificate, pemChain } from './certificate.js';
import { distinguishedName, encodeName, type NameParts } from './distinguished-name.js';
import {
  type Authority,
  issueControlPlane,
  issueDevice,
  issueGateway,
  issueGatewayServer,
  issuePlanSigner,
  issueRoot,
  issueSiteCa,
} from './issue.js';
import { createKey, type KeyPair, privatePem } from './keys.js';
import { generatorKey, signingAlgorithm } from './signing-key.js';

export interface TestFleetOptions {
  readonly fleet?: string;
  readonly site?: string;
  /** Epoch ms; certificates are valid from an hour before. */
  readonly now?: number;
}

/** A certificate with its key, and both as TLS options take them: the chain up to the root, the root included. */
export interface Credentials {
  readonly certificate: Certificate;
  readonly key: KeyPair;
  readonly tls: { readonly cert: string; readonly key: string };
}

export interface TestFleet {
  readonly fleet: string;
  readonly site: string;
  readonly now: number;
  readonly root: Authority;
  readonly siteCa: Authority<KeyPair>;
  planSigner(): Promise<Credentials>;
  /** For localhost and 127.0.0.1. */
  controlPlane(): Promise<Credentials>;
  gateway(id: string): Promise<Credentials>;
  /** For localhost and 127.0.0.1. */
  gatewayServer(id: string): Promise<Credentials>;
  device(id: string): Promise<Credentials>;
  /** Another site of the same fleet. */
  otherSite(site: string): Promise<TestFleet>;
}

const hosts = ['localhost', '127.0.0.1'];

export const createTestFleet = async ({
  fleet = 'fleet-a',
  site = 'site-a',
  now = Date.now(),
}: TestFleetOptions = {}): Promise<TestFleet> => {
  const key = await createKey();
  return siteOf({ certificate: await issueRoot(key, { fleet, now }), key }, { fleet, site, now });
};

const siteOf = async (
  root: Authority,
  { fleet, site, now }: Required<TestFleetOptions>,
): Promise<TestFleet> => {
  const caKey = await createKey();
  const ca = await issueSiteCa(root, caKey.publicKey, { site, now });
  const siteCa = { certificate: ca, key: caKey };
  const issued = async (
    issue: (key: KeyPair['publicKey']) => Promise<Certificate>,
    issuers: readonly Certificate[],
  ): Promise<Credentials> => {
    const key = await createKey();
    const certificate = await issue(key.publicKey);
    const cert = pemChain(certificate, ...issuers);
    return { certificate, key, tls: { cert, key: privatePem(key) } };
  };
  const byRoot = [root.certificate];
  const bySite = [ca, root.certificate];
  return {
    fleet,
    site,
    now,
    root,
    siteCa,
    planSigner: () => issued((key) => issuePlanSigner(root, key, { now }), byRoot),
    controlPlane: () => issued((key) => issueControlPlane(root, key, { hosts, now }), byRoot),
    gateway: (gateway) => issued((key) => issueGateway(root, key, { site, gateway, now }), byRoot),
    gatewayServer: (gateway) =>
      issued((key) => issueGatewayServer(siteCa, key, { gateway, hosts, now }), bySite),
    device: (device) => issued((key) => issueDevice(siteCa, key, { device, now }), bySite),
    otherSite: (other) => siteOf(root, { fleet, site: other, now }),
  };
};

/** What an authority could sign if it kept to no rule, for a new key unless one is given; valid for a day. */
export const forge = async (
  by: Authority,
  subject: NameParts,
  extensions: readonly Extension[],
  publicKey?: KeyPair['publicKey'],
): Promise<Authority> => {
  const key = await createKey();
  const spki = (publicKey ?? key.publicKey).export({ type: 'spki', format: 'der' });
  const { notBefore } = by.certificate;
  const { handle, crypto } = generatorKey(by.key);
  const content = {
    subject: new Name(encodeName(distinguishedName(subject))),
    issuer: new Name(encodeName(by.certificate.subject)),
    notBefore: new Date(notBefore),
    notAfter: new Date(notBefore + 86_400_000),
    publicKey: new PublicKey(new Uint8Array(spki)),
    signingKey: handle,
    signingAlgorithm,
    extensions: [...extensions],
  };
  const certificate = await X509CertificateGenerator.create(content, crypto);
  return { certificate: parseCertificate(new Uint8Array(certificate.rawData)), key };
};
