import { createHash } from 'node:crypto';

/**
 * The number of one attempt of a device at a campaign, 1 to 2^31 − 1, for protocols that want one: AWS's `executionNumber`, hawkBit's action
 * id. It is made of what it names (SHA-256 over campaign, device and attempt, each ended by NUL), so that it is the same after any restore.
 */
export const executionNumber = (campaign: string, device: string, attempt: number): number =>
  (createHash('sha256')
    .update(`${campaign}\u0000${device}\u0000${attempt}\u0000`, 'utf8')
    .digest()
    .readUIntBE(0, 6) %
    (2 ** 31 - 1)) +
  1;
