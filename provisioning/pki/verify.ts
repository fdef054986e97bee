/**
 * The one verifier: decides whether a certificate may act in a role. TLS proves that the peer holds the key; everything else is decided
 * here, because OpenSSL looks at dates first and by the machine's clock, and knows nothing of sites (DESIGN.md, "Identity", "Time").
 */
import { isIP } from 'node:net';
import { type Certificate, parseCertificate } from './certificate.js';
import { buildChain, type Chain, checkConstraints, checkLinks } from './chain.js';
import { nameField } from './distinguished-name.js';
import { keyUsages } from './oids.js';
import { type Refusal, refuse } from './refusal.js';

/** `gateway` is one on the link, `gateway-server` the same one's server certificate towards devices and people. */
export type Role = 'device' | 'gateway' | 'gateway-server' | 'control-plane' | 'plan-signer';

export interface VerifyRequest {
  readonly certificate: Certificate | Uint8Array;
  /** What the peer sent beside it, and what is known here; in any order, the root among them does no harm. */
  readonly intermediates?: readonly (Certificate | Uint8Array)[];
  /** The fleet's root, the only one that is trusted. */
  readonly root: Certificate;
  readonly role: Role;
  /** Epoch ms; `unchecked` while the clock is untrusted. */
  readonly at: number | 'unchecked';
  /** How long after its end the certificate itself is still accepted, ms: for its renewal alone. 0 unless given. */
  readonly expiredForMs?: number;
  /** How long before its beginning it is accepted, ms: by its own issuer, whose clock may have been ahead. 0 unless given. */
  readonly aheadForMs?: number;
  /** Refuses every other site. */
  readonly site?: string;
  /** Refuses a server whose alternative names do not have this DNS name or IP address. */
  readonly host?: string;
  /** By the issuer's subject key id and the serial number, both hexadecimal in lower case; asked of every certificate but the root. */
  readonly isRevoked?: (issuerKeyId: string, serial: string) => boolean;
}

export interface CertificateIdentity {
  readonly fleet: string;
  /** null for what belongs to the whole fleet: the control plane and the plan signer. */
  readonly site: string | null;
  /** The common name: the device's or gateway's id. */
  readonly name: string;
  readonly serial: string;
  /** Serial number of the certificate that issued it. */
  readonly issuerSerial: string;
}

export type Verdict =
  | { readonly identity: CertificateIdentity; readonly refused?: never }
  | Refusal;

/** Pure; never throws. Revocation is told before dates, so that a revoked certificate stays one when it has expired. */
export const verifyChain = (request: VerifyRequest): Verdict => {
  const parsed = parseAll(request);
  if (parsed === undefined) return refuse('malformed', 'a certificate cannot be parsed');
  const chain = buildChain(parsed.certificate, parsed.intermediates, request.root);
  if (chain === undefined) return refuse('chain', 'it does not lead to the root of this fleet');
  return (
    checkLinks(chain) ??
    checkConstraints(chain) ??
    checkRole(chain, request) ??
    checkRevocation(chain, request) ??
    checkDates(chain, request) ??
    identify(chain, request)
  );
};

/** A peer may send as much as TLS lets it; nobody of ours sends more. */
const mostIntermediates = 8;

interface RoleRule {
  readonly usages: readonly string[];
  /** Who issues it: a site CA must not be able to make a control plane, nor a gateway. */
  readonly by: 'root' | 'site-ca';
  readonly hasSite: boolean;
}

const { clientAuth, serverAuth } = keyUsages;
const roles: Readonly<Record<Role, RoleRule>> = {
  device: { usages: [clientAuth], by: 'site-ca', hasSite: true },
  gateway: { usages: [clientAuth, keyUsages.gateway], by: 'root', hasSite: true },
  'gateway-server': { usages: [serverAuth], by: 'site-ca', hasSite: true },
  'control-plane': { usages: [serverAuth], by: 'root', hasSite: false },
  'plan-signer': { usages: [keyUsages.planSigning], by: 'root', hasSite: false },
};

/** Device and gateway ids (DESIGN.md, "Identity"). */
const idPattern = /^[A-Za-z0-9_-]{1,64}$/;

const hostPattern = /^[A-Za-z0-9._-]+$/;

const parseAll = ({ certificate, intermediates = [] }: VerifyRequest) => {
  const parse = (input: Certificate | Uint8Array) =>
    input instanceof Uint8Array ? parseCertificate(input) : input;
  try {
    return {
      certificate: parse(certificate),
      intermediates: intermediates.slice(0, mostIntermediates).map(parse),
    };
  } catch {
    return undefined;
  }
};

const checkRole = (chain: Chain, request: VerifyRequest): Refusal | undefined => {
  const [leaf, issuer] = chain;
  const rule = roles[request.role];
  // Exactly these: one certificate, one role.
  const usages = leaf.extensions.extendedKeyUsage ?? [];
  if (usages.length !== rule.usages.length || !rule.usages.every((u) => usages.includes(u))) {
    return refuse('usage', `its extended key usage is not that of a ${request.role}`);
  }
  if (issuer === undefined || (chain.length === 2) !== (rule.by === 'root')) {
    return refuse('issuer', `a ${request.role} is not certified by this kind of authority`);
  }
  const fleet = nameField(request.root.subject, 'organization');
  const site = nameField(leaf.subject, 'unit');
  if (fleet === undefined || nameField(leaf.subject, 'organization') !== fleet) {
    return refuse('name', 'it names another fleet than its root');
  }
  if ((site !== undefined) !== rule.hasSite) return refuse('name', 'its name has the wrong parts');
  if (rule.by === 'site-ca') {
    const isOfSite =
      nameField(issuer.subject, 'organization') === fleet &&
      nameField(issuer.subject, 'unit') === site;
    if (!isOfSite) return refuse('site', 'it names another site than its issuer');
  }
  if (request.site !== undefined && site !== request.site) {
    return refuse('site', `it is not of the site ${request.site}`);
  }
  const name = nameField(leaf.subject, 'commonName');
  if (name === undefined || (rule.hasSite && !idPattern.test(name))) {
    return refuse('name', 'its common name is no id');
  }
  if (request.host !== undefined && !isFor(leaf, request.host)) {
    return refuse('host', `it is not for ${request.host}`);
  }
  return undefined;
};

/** Alternative names alone count: the common name is an id. */
const isFor = ({ x509 }: Certificate, host: string): boolean => {
  // A link-local address is written with its interface, which no certificate knows.
  const address = host.replace(/%.*$/, '');
  if (isIP(address) !== 0) return x509.checkIP(address) !== undefined;
  return hostPattern.test(host) && x509.checkHost(host, { subject: 'never' }) !== undefined;
};

const checkRevocation = (chain: Chain, { isRevoked }: VerifyRequest): Refusal | undefined => {
  if (isRevoked === undefined) return undefined;
  for (const [i, { serial }] of chain.entries()) {
    const keyId = chain[i + 1]?.extensions.subjectKeyId;
    if (keyId !== undefined && isRevoked(keyId, serial)) {
      return refuse('revoked', i === 0 ? 'it is revoked' : 'its issuer is revoked');
    }
  }
  return undefined;
};

const checkDates = (
  chain: Chain,
  { at, expiredForMs = 0, aheadForMs = 0 }: VerifyRequest,
): Refusal | undefined => {
  if (at === 'unchecked') return undefined;
  for (const [i, { notBefore, notAfter }] of chain.entries()) {
    const which = i === 0 ? 'it' : 'an authority in its chain';
    if (at < notBefore - (i === 0 ? aheadForMs : 0))
      return refuse('not-yet-valid', `${which} is not yet valid`);
    if (at > notAfter + (i === 0 ? expiredForMs : 0)) {
      return refuse('expired', `${which} has expired`);
    }
  }
  return undefined;
};

const identify = ([leaf, issuer]: Chain, { root }: VerifyRequest): Verdict => ({
  identity: {
    // checkRole has seen that both are there.
    fleet: nameField(root.subject, 'organization') ?? '',
    site: nameField(leaf.subject, 'unit') ?? null,
    name: nameField(leaf.subject, 'commonName') ?? '',
    serial: leaf.serial,
    issuerSerial: issuer?.serial ?? '',
  },
});
