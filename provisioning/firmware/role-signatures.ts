/** Whether enough of the keys that must sign a file of metadata have signed it. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Key } from '@tufjs/models';
import type { RoleMetadata } from './trusted-state.js';

/** Whose signatures count, and how many there must be. */
export interface SigningRole {
  readonly name: string;
  readonly keyIds: readonly string[];
  readonly threshold: number;
  readonly keys: Readonly<Record<string, Key>>;
}

/**
 * Every signature of a key of the role must be good, and enough of them must be there.
 * Errors: FIRMWARE_SIGNATURE_INVALID, FIRMWARE_THRESHOLD_NOT_MET.
 */
export const checkSignatures = (
  metadata: RoleMetadata,
  role: SigningRole,
  /** What the message calls the file. */
  what: string,
): void => {
  const { name, threshold } = role;
  const good = goodSignatures(metadata, role, what).length;
  if (good >= threshold) return;
  if (good === 0) {
    throw new HoldfastError(
      'FIRMWARE_SIGNATURE_INVALID',
      `The metadata ${what} is signed by nobody who may sign as ${name}`,
    );
  }
  throw new HoldfastError(
    'FIRMWARE_THRESHOLD_NOT_MET',
    `The metadata ${what} is signed by ${good} of the keys of ${name}; it takes ${threshold}`,
  );
};

/** Ids of the role's keys that have signed. Errors: FIRMWARE_SIGNATURE_INVALID when one of their signatures is not good. */
export const goodSignatures = (
  metadata: RoleMetadata,
  { keyIds, keys }: SigningRole,
  what: string,
): string[] =>
  keyIds.filter((keyId) => {
    const key = Object.hasOwn(keys, keyId) ? keys[keyId] : undefined;
    if (key === undefined || !Object.hasOwn(metadata.signatures, keyId)) return false;
    try {
      key.verifySignature(metadata);
      return true;
    } catch (cause) {
      throw new HoldfastError(
        'FIRMWARE_SIGNATURE_INVALID',
        `The metadata ${what} was changed after the key ${keyId.slice(0, 12)}… signed it`,
        { cause },
      );
    }
  });
