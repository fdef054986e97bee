/** Keys in the form that @peculiar/x509 takes: WebCrypto's. */
import { webcrypto } from 'node:crypto';
import type { KeyPair } from './keys.js';

/** ECDSA on P-256 with SHA-256: what every key of ours signs with. */
export const signingAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export const toWebKeys = async ({
  privateKey,
  publicKey,
}: KeyPair): Promise<{ privateKey: webcrypto.CryptoKey; publicKey: webcrypto.CryptoKey }> => ({
  privateKey: await webcrypto.subtle.importKey(
    'pkcs8',
    privateKey.export({ type: 'pkcs8', format: 'der' }),
    signingAlgorithm,
    false,
    ['sign'],
  ),
  publicKey: await webcrypto.subtle.importKey(
    'spki',
    publicKey.export({ type: 'spki', format: 'der' }),
    signingAlgorithm,
    true,
    ['verify'],
  ),
});
