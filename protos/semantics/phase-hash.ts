import { createHash } from 'node:crypto';

/**
 * Where a device stands in a campaign's rollout: a number in [0, 1), the same wherever and whenever it is asked. A phase
 * of 10 % takes the devices below 0.1, and the next of 50 % those and more. Each campaign shuffles anew, so that it is
 * not always the same devices that go first.
 *
 * It is the first 48 bits of SHA-256 over campaign id, NUL, device id (neither can hold a NUL), as a fraction.
 */
export const phaseOf = (campaign: string, device: string): number =>
  createHash('sha256').update(`${campaign}\u0000${device}`, 'utf8').digest().readUIntBE(0, 6) /
  2 ** 48;
