/** When a certificate is renewed: at a part of its life, each at a moment of its own, so that what was issued together is not renewed in step. */
import { createHash } from 'node:crypto';
import type { Certificate } from './certificate.js';

export type Lifetime = Pick<Certificate, 'notBefore' | 'notAfter' | 'serial'>;

/** The share of a life around whose half renewals are spread: 7 days are renewed within 17 hours. */
const spread = 0.1;

/** Epoch ms; the same at each call, so that a restart neither hastens nor delays it. */
export const renewalAt = ({ notBefore, notAfter, serial }: Lifetime): number => {
  const digest = createHash('sha256').update(serial).digest();
  const place = digest.readUInt32BE() / 2 ** 32;
  return Math.round(notBefore + (notAfter - notBefore) * (0.5 + spread * (place - 0.5)));
};

/** When somebody should be told that the renewal has not come about: only a third of its life is left. Epoch ms. */
export const alarmAt = ({
  notBefore,
  notAfter,
}: Pick<Lifetime, 'notBefore' | 'notAfter'>): number =>
  Math.round(notAfter - (notAfter - notBefore) / 3);
