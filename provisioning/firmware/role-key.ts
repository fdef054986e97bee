/** Keys that sign metadata: Ed25519, named by the hash of their public half as TUF has it. */
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { canonicalize } from '@tufjs/canonical-json';

/** As it stands in metadata. */
export interface PublicRoleKey {
  readonly keytype: 'ed25519';
  readonly scheme: 'ed25519';
  readonly keyval: { readonly public: string };
}

export interface RoleKey {
  readonly id: string;
  readonly publicKey: PublicRoleKey;
  readonly privateKey: KeyObject;
}

export const generateRoleKey = (): RoleKey => roleKeyOf(generateKeyPairSync('ed25519').privateKey);

/** Errors: KEY_INVALID when it is no key of Ed25519. */
export const roleKeyOf = (privateKey: KeyObject): RoleKey => {
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' });
  if (privateKey.asymmetricKeyType !== 'ed25519' || x === undefined) {
    throw new HoldfastError('KEY_INVALID', 'The key is not one of Ed25519');
  }
  const publicKey = publicRoleKey(Buffer.from(x, 'base64url').toString('hex'));
  return { id: roleKeyId(publicKey), publicKey, privateKey };
};

/** `hex`: the 32 bytes of the public key. */
export const publicRoleKey = (hex: string): PublicRoleKey => ({
  keytype: 'ed25519',
  scheme: 'ed25519',
  keyval: { public: hex },
});

export const roleKeyId = (key: PublicRoleKey): string =>
  createHash('sha256').update(canonicalize(key)).digest('hex');

/** The signature over the canonical form of the signed part, in hexadecimal. */
export const signWith = ({ privateKey }: RoleKey, signed: object): string =>
  sign(null, Buffer.from(canonicalize(signed)), privateKey).toString('hex');
