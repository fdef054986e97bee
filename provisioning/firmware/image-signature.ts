/**
 * Signatures for devices that check one signature and nothing else: over the 32 bytes of the image's SHA-256, with a key whose public
 * half the device was made with. `openssl pkeyutl -verify -rawin` checks them.
 */
import { constants, createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { ImageSignature } from './manifest.js';

export type ImageScheme = ImageSignature['scheme'];

/** RSA has at least so many bits; what `holdfast firmware keys create` makes has exactly these. */
const rsaBits = 4096;
const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };

/** SHA-256 of the public half in DER (SubjectPublicKeyInfo). */
export const imageKeyId = (key: KeyObject): string => {
  const publicKey = key.type === 'public' ? key : createPublicKey(key);
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
};

/** Errors: KEY_INVALID for any other key. */
export const imageSchemeOf = (key: KeyObject): ImageScheme => {
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519';
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType === 'rsa' && bits === rsaBits) return 'rsassa-pss-sha256';
  throw new HoldfastError(
    'KEY_INVALID',
    'Images are signed with keys of Ed25519, or of RSA with 4096 bits',
  );
};

/** Errors: KEY_INVALID. */
export const signImage = (sha256: string, key: KeyObject): ImageSignature => {
  const scheme = imageSchemeOf(key);
  const digest = Buffer.from(sha256, 'hex');
  const signature =
    scheme === 'ed25519' ? sign(null, digest, key) : sign('sha256', digest, { key, ...pss });
  return { key_id: imageKeyId(key), scheme, signature: signature.toString('hex') };
};

/** Whether the signature is one of this key over this image. */
export const isImageSignature = (
  sha256: string,
  { key_id, scheme, signature }: ImageSignature,
  key: KeyObject,
): boolean => {
  if (imageKeyId(key) !== key_id || imageSchemeOf(key) !== scheme) return false;
  const digest = Buffer.from(sha256, 'hex');
  const bytes = Buffer.from(signature, 'hex');
  return scheme === 'ed25519'
    ? verify(null, digest, key, bytes)
    : verify('sha256', digest, { key, ...pss }, bytes);
};
