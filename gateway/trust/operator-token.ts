/** The token with which people use the local API: drawn at enrolment, shown once, stored as a hash. 256 random bits need no slow hash. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

export const createOperatorToken = (): string => `hfo_${randomBytes(32).toString('base64url')}`;

/** Hexadecimal. */
export const hashOperatorToken = (token: string): string =>
  createHash('sha256').update(token).digest('hex');

export const isOperatorToken = (token: string, sha256: string): boolean => {
  const given = Buffer.from(hashOperatorToken(token), 'hex');
  const known = Buffer.from(sha256, 'hex');
  return given.length === known.length && timingSafeEqual(given, known);
};
