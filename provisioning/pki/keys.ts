/** Private keys: P-256, made where they are used, kept in PKCS#8 files that only their owner can read. */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

const generate = promisify(generateKeyPair);

export const createKey = (): Promise<KeyPair> => generate('ec', { namedCurve: 'P-256' });

/** PKCS#8 in PEM, as TLS options take it. Never log it. */
export const privatePem = ({ privateKey }: KeyPair): string =>
  privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

/** Errors: KEY_INVALID when it is no private key, or none on P-256. */
export const parseKey = (pem: string): KeyPair => {
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
  } catch (error) {
    throw new HoldfastError('KEY_INVALID', 'This is no private key in PEM', { cause: error });
  }
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new HoldfastError('KEY_INVALID', 'The private key is not on the curve P-256');
  }
  return { privateKey, publicKey: createPublicKey(privateKey) };
};

/** Errors: KEY_INVALID, with the path, when it is missing or damaged. */
export const readKeyFile = async (path: string): Promise<KeyPair> => {
  try {
    return parseKey(await readFile(path, 'utf8'));
  } catch (error) {
    throw new HoldfastError('KEY_INVALID', `${path}: ${messageOf(error)}`, { cause: error });
  }
};

/** Writes a key so that a power cut leaves the old file or the new one, never half; mode 0600 from the start. */
export const writeKeyFile = async (path: string, key: KeyPair): Promise<void> => {
  const temporary = `${path}.new`;
  // A file left by a crash may have another mode.
  await unlink(temporary).catch(() => undefined);
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(privatePem(key));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
};

/** The key of this file; made and written at the first time. */
export const loadOrCreateKey = async (path: string): Promise<KeyPair> => {
  try {
    return parseKey(await readFile(path, 'utf8'));
  } catch (error) {
    if (!isMissing(error)) {
      throw new HoldfastError('KEY_INVALID', `${path}: ${messageOf(error)}`, { cause: error });
    }
  }
  const key = await createKey();
  await writeKeyFile(path, key);
  return key;
};

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';
