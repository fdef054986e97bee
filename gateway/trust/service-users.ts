/** Services of the gateway's own machine: name and password, and the topics that the configuration grants. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import type { ServiceIdentity } from './identity.js';

export interface ServiceUser {
  readonly name: string;
  /** `scrypt$<salt>$<hash>`, both base64url. */
  readonly passwordHash: string;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

const derive = promisify<Uint8Array, Uint8Array, number, Buffer>(scrypt);
const hashBytes = 32;

export const hashPassword = async (password: Uint8Array): Promise<string> => {
  const salt = randomBytes(16);
  const hash = await derive(password, salt, hashBytes);
  return `scrypt$${salt.toString('base64url')}$${hash.toString('base64url')}`;
};

/** Who it is; undefined when name or password is wrong. Takes as long for a name that is not known. */
export const authenticateServiceWith =
  (users: readonly ServiceUser[]) =>
  async (name: string, password: Uint8Array): Promise<ServiceIdentity | undefined> => {
    const user = users.find((candidate) => candidate.name === name);
    const [, salt = '', hash = ''] = (user?.passwordHash ?? unknownHash).split('$');
    const known = Buffer.from(hash, 'base64url');
    const given = await derive(password, Buffer.from(salt, 'base64url'), hashBytes);
    const isRight = known.length === given.length && timingSafeEqual(known, given);
    if (user === undefined || !isRight) return undefined;
    const { publish, subscribe } = user;
    return { kind: 'service', name, publish, subscribe };
  };

const unknownHash = 'scrypt$AAAAAAAAAAAAAAAAAAAAAA$';
