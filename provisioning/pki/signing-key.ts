/**
 * Keys that sign: in memory, or in hardware that never gives them out. Certificates, lists and requests are signed with either;
 * TLS needs the first.
 */
import { type KeyObject, sign, webcrypto } from 'node:crypto';
import type { KeyPair } from './keys.js';

/** A P-256 key that only its device can use. */
export interface HardwareKey {
  readonly publicKey: KeyObject;
  /** ECDSA over the SHA-256 of the data, as r ‖ s of 32 bytes each (IEEE P1363). */
  sign(data: Uint8Array): Promise<Uint8Array>;
  /** Ends the session with the hardware. Idempotent. */
  close(): void;
}

export type SigningKey = KeyPair | HardwareKey;

/** ECDSA on P-256 with SHA-256: what every key of ours signs with. */
export const signingAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** As `HardwareKey.sign`. */
export const signWith = async (key: SigningKey, data: Uint8Array): Promise<Uint8Array> =>
  'privateKey' in key
    ? sign('sha256', data, { key: key.privateKey, dsaEncoding: 'ieee-p1363' })
    : key.sign(data);

/** What the generators of @peculiar/x509 take for a key: a handle that stands for it, and a WebCrypto that signs with it. */
export const generatorKey = (key: SigningKey) => {
  const handle = { algorithm: signingAlgorithm } as unknown as webcrypto.CryptoKey;
  const subtle = {
    sign: async (_algorithm: unknown, _handle: unknown, data: ArrayBuffer) =>
      new Uint8Array(await signWith(key, new Uint8Array(data))).buffer,
    // Of a request alone, for its public key in SPKI.
    exportKey: async () =>
      new Uint8Array(key.publicKey.export({ type: 'spki', format: 'der' })).buffer,
  };
  // The generators use nothing else of it; the random bits are for a serial number that nobody gave.
  const getRandomValues = (bytes: Uint8Array) => webcrypto.getRandomValues(bytes);
  return { handle, crypto: { subtle, getRandomValues } as unknown as webcrypto.Crypto };
};
