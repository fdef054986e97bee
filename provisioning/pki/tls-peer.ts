/** What the other side of a TLS connection is, by our verifier; on server sockets and client sockets alike. */
import type { DetailedPeerCertificate, PeerCertificate, TLSSocket } from 'node:tls';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type CertificateIdentity, type VerifyRequest, verifyChain } from './verify.js';

export type PeerExpectation = Omit<VerifyRequest, 'certificate'>;

/**
 * Says who the peer is. To be called after the handshake of a connection made with `rejectUnauthorized: false`; the caller destroys the
 * socket when it throws. Errors: PEER_REFUSED.
 */
export const verifyPeer = (socket: TLSSocket, expectation: PeerExpectation): CertificateIdentity =>
  verifyPresented(peerChain(socket), expectation);

/** The same for a chain in DER, the peer's own certificate first. Errors: PEER_REFUSED. */
export const verifyPresented = (
  [certificate, ...sent]: readonly Uint8Array[],
  expectation: PeerExpectation,
): CertificateIdentity => {
  if (certificate === undefined) {
    throw new HoldfastError('PEER_REFUSED', 'The other side has shown no certificate');
  }
  const verdict = verifyChain({
    ...expectation,
    certificate,
    intermediates: [...(expectation.intermediates ?? []), ...sent],
  });
  if (verdict.refused === undefined) return verdict.identity;
  throw new HoldfastError(
    'PEER_REFUSED',
    `The other side's certificate is refused: ${verdict.message}`,
    { data: { reason: verdict.refused } },
  );
};

/** The certificates that the peer presented, its own first; empty when it presented none. */
export const peerChain = (socket: TLSSocket): Uint8Array[] =>
  presentedChain(socket.getPeerCertificate(true));

/** The chain in a certificate as Node gives it; without details (as grpc-js has it) the peer's own alone. */
export const presentedChain = (
  certificate: PeerCertificate | DetailedPeerCertificate,
): Uint8Array[] => {
  const chain: Uint8Array[] = [];
  const seen = new Set<string>();
  let next: Partial<DetailedPeerCertificate> | undefined = certificate;
  // The root is its own issuer; a peer without a certificate is an empty object.
  while (next?.raw !== undefined && next.fingerprint256 !== undefined) {
    if (seen.has(next.fingerprint256)) break;
    seen.add(next.fingerprint256);
    chain.push(new Uint8Array(next.raw));
    next = next.issuerCertificate;
  }
  return chain;
};
