/**
 * How a gateway whose link certificate has run out gets another: over HTTPS, where certificates are judged by our own verifier, with the
 * messages of the link's RenewCertificates in protobuf.
 */
export const lateRenewalPath = '/gateways/certificates';

/** How long after its end: as long as it lived. A gateway that is stolen is kept out by its replacement and by revocation, not by a date. */
export const lateRenewalMs = 365 * 86_400_000;

/** Two requests for certificates. */
export const mostLateRenewalBytes = 16 * 1024;
