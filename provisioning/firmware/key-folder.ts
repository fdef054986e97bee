/**
 * A folder of signing keys, to be taken offline whole: `NAME.pem` is a private key (PKCS #8, encrypted under a passphrase, for its owner's
 * eyes), `NAME.pub` its public half, which may go anywhere.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  type KeyPairKeyObjectResult,
} from 'node:crypto';
import { chmod, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { makeFolder } from '../storage/make-folder.js';
import type { ImageScheme } from './image-signature.js';
import { writeFileOnce } from './place-file.js';
import { publicRoleKey, type RoleKey, roleKeyId, roleKeyOf } from './role-key.js';

export interface NamedKey {
  readonly name: string;
  readonly publicKey: KeyObject;
  /** Of a key that can sign metadata; undefined for the others. */
  readonly roleKeyId: string | undefined;
  /** The private half is in this folder. */
  readonly isHeld: boolean;
}

/** Passphrases shorter than this are refused. */
export const shortestPassphrase = 12;

const keyName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

export class KeyFolder {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get path(): string {
    return this.#folder;
  }

  /** Every key of which a half is here. Errors: KEY_INVALID for a file that is none. */
  async list(): Promise<NamedKey[]> {
    const files = await readdir(this.#folder).catch((error: NodeJS.ErrnoException): string[] => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    const names = files
      .filter((file) => file.endsWith('.pub'))
      .map((file) => file.slice(0, -'.pub'.length));
    return Promise.all(
      names.sort().map(async (name) => {
        const publicKey = await readPublicKey(this.#pathOf(name, 'pub'));
        const isHeld = files.includes(`${name}.pem`);
        return { name, publicKey, roleKeyId: roleKeyIdOf(publicKey), isHeld };
      }),
    );
  }

  /** Makes a key. Errors: REQUEST_INVALID, RESOURCE_EXISTS when there is one of that name. */
  async create(
    name: string,
    passphrase: string,
    scheme: ImageScheme = 'ed25519',
  ): Promise<NamedKey> {
    if (!keyName.test(name)) {
      throw new HoldfastError(
        'REQUEST_INVALID',
        `a key is named with 1 to 64 letters, digits, _ and -, and not "${name.slice(0, 200)}"`,
      );
    }
    if (passphrase.length < shortestPassphrase) {
      throw new HoldfastError(
        'PASSWORD_UNFIT',
        `the passphrase has at least ${shortestPassphrase} characters`,
      );
    }
    if ((await this.list()).some((key) => key.name === name)) {
      throw new HoldfastError('RESOURCE_EXISTS', `there is a key ${name} in ${this.#folder}`);
    }
    const { privateKey, publicKey } = await generateKeys(scheme);
    await makeFolder(this.#folder, 0o700);
    const pem = privateKey.export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase,
    });
    await writeFileOnce(this.#pathOf(name, 'pem'), pem, 0o600);
    await this.addPublic(name, publicKey);
    return { name, publicKey, roleKeyId: roleKeyIdOf(publicKey), isHeld: true };
  }

  /** Keeps the public half of somebody else's key. Errors: RESOURCE_EXISTS. */
  async addPublic(name: string, publicKey: KeyObject): Promise<void> {
    await makeFolder(this.#folder, 0o700);
    const pem = publicKey.export({ type: 'spki', format: 'pem' });
    await writeFileOnce(this.#pathOf(name, 'pub'), pem, 0o644);
  }

  /** Errors: KEY_INVALID when the passphrase does not open it, or it is damaged. */
  async open(name: string, passphrase: string): Promise<KeyObject> {
    try {
      const pem = await readFile(this.#pathOf(name, 'pem'));
      return createPrivateKey({ key: pem, passphrase });
    } catch (cause) {
      throw new HoldfastError(
        'KEY_INVALID',
        `the passphrase does not open the key ${name}, or the key is damaged`,
        {
          cause,
          data: { next: 'check the passphrase; if it is right, fetch the key from its backup' },
        },
      );
    }
  }

  /** The same, as a key that signs metadata. Errors: KEY_INVALID. */
  async openRoleKey(name: string, passphrase: string): Promise<RoleKey> {
    return roleKeyOf(await this.open(name, passphrase));
  }

  /** Puts a key aside under a name that nothing looks for, and frees its own. */
  async retire({ name, isHeld }: NamedKey, now: number): Promise<void> {
    const aside = `${name}.retired-${new Date(now).toISOString().replaceAll(':', '')}`;
    for (const half of isHeld ? ['pem', 'pub'] : ['pub']) {
      await rename(this.#pathOf(name, half), join(this.#folder, `${aside}-${half}`));
    }
    if (isHeld) await chmod(join(this.#folder, `${aside}-pem`), 0o600);
  }

  #pathOf(name: string, half: string): string {
    return join(this.#folder, `${name}.${half}`);
  }
}

/** Reads a public key in PEM. Errors: KEY_INVALID. */
export const readPublicKey = async (path: string): Promise<KeyObject> => {
  try {
    return createPublicKey(await readFile(path));
  } catch (cause) {
    throw new HoldfastError('KEY_INVALID', `${path} is no public key: ${messageOf(cause)}`, {
      cause,
    });
  }
};

/** As it stands in metadata. Errors: KEY_INVALID for a key that is not one of Ed25519. */
export const rolePublicKey = (key: KeyObject) => {
  const { x } = key.export({ format: 'jwk' });
  if (key.asymmetricKeyType === 'ed25519' && x !== undefined) {
    return publicRoleKey(Buffer.from(x, 'base64url').toString('hex'));
  }
  throw new HoldfastError('KEY_INVALID', 'metadata is signed with keys of Ed25519');
};

const roleKeyIdOf = (key: KeyObject): string | undefined =>
  key.asymmetricKeyType === 'ed25519' ? roleKeyId(rolePublicKey(key)) : undefined;

const generateKeys = (scheme: ImageScheme): Promise<KeyPairKeyObjectResult> =>
  new Promise((resolve, reject) => {
    const made = (error: Error | null, publicKey: KeyObject, privateKey: KeyObject): void => {
      if (error === null) resolve({ publicKey, privateKey });
      else reject(error);
    };
    if (scheme === 'ed25519') generateKeyPair('ed25519', {}, made);
    else generateKeyPair('rsa', { modulusLength: 4096 }, made);
  });
