/** Chains of certificates: from one to the root, each signed by the next, as X.509 has it (RFC 5280, 6); roles and sites are verify's. */
import type { Certificate } from './certificate.js';
import { isAcceptable } from './csr.js';
import { isNameEqual, isWithin } from './distinguished-name.js';
import { type Refusal, refuse } from './refusal.js';

/** Leaf first, root last. */
export type Chain = readonly [leaf: Certificate, ...issuers: Certificate[]];

/** Leaf, site CA, root. Every longer chain of the fleet is somebody else's. */
const longestOfFleet = 3;

/** ECDSA and RSA (PKCS#1) with SHA-256 to SHA-512. */
const signatureAlgorithms: ReadonlySet<string> = new Set([
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
]);

/** undefined when there is none; the newest certificate of each authority is taken. */
export const buildChain = (
  leaf: Certificate,
  intermediates: readonly Certificate[],
  root: Certificate,
  longest = longestOfFleet,
): Chain | undefined => {
  const chain: [Certificate, ...Certificate[]] = [leaf];
  let last: Certificate = leaf;
  while (chain.length < longest) {
    if (isIssuedBy(last, root)) return [...chain, root];
    const [issuer] = intermediates
      .filter((candidate) => isIssuedBy(last, candidate))
      // An authority that was renewed with its key has several certificates: the newest counts.
      .sort((a, b) => b.notAfter - a.notAfter);
    if (issuer === undefined) return undefined;
    chain.push(issuer);
    last = issuer;
  }
  return undefined;
};

const isIssuedBy = (certificate: Certificate, issuer: Certificate): boolean => {
  const keyId = certificate.extensions.authorityKeyId;
  return (
    isNameEqual(certificate.issuer, issuer.subject) &&
    (keyId === undefined || keyId === issuer.extensions.subjectKeyId) &&
    certificate.x509.verify(issuer.publicKey)
  );
};

/** Keys, algorithms, authorities and how many may follow one another. */
export const checkLinks = (chain: Chain): Refusal | undefined => {
  for (const [i, { extensions, publicKey, signatureAlgorithm }] of chain.entries()) {
    if (!isAcceptable(publicKey) || !signatureAlgorithms.has(signatureAlgorithm)) {
      return refuse('algorithm', 'a key or a signature in the chain is of a kind not accepted');
    }
    if (extensions.unknownCritical.length > 0) {
      return refuse('malformed', `unknown critical extension ${extensions.unknownCritical[0]}`);
    }
    if (i === 0) continue;
    if (!extensions.isCa || !extensions.maySignCertificates || !extensions.subjectKeyId) {
      return refuse('authority', 'an issuer in the chain is no certificate authority');
    }
    // Between it and the leaf stand i - 1 authorities.
    if (extensions.pathLength !== undefined && i - 1 > extensions.pathLength) {
      return refuse('authority', 'an authority in the chain may have no other below it');
    }
  }
  return chain[0].extensions.isCa ? refuse('usage', 'an authority cannot act itself') : undefined;
};

/** The names that each authority may give. */
export const checkConstraints = (chain: Chain): Refusal | undefined => {
  for (const [i, { extensions }] of chain.entries()) {
    const constraint = extensions.nameConstraints;
    if (constraint === undefined) continue;
    if (constraint.hasOtherForms) {
      return refuse('constraint', 'a constraint on names is of a form not understood');
    }
    const { permitted, excluded } = constraint;
    for (const { subject } of chain.slice(0, i)) {
      const isPermitted = permitted?.some((base) => isWithin(subject, base)) ?? true;
      if (!isPermitted || excluded.some((base) => isWithin(subject, base))) {
        return refuse('constraint', 'a name in the chain is not one its issuer may give');
      }
    }
  }
  return undefined;
};
