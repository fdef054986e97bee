/**
 * What stands for a password where it is stored: scrypt with its parameters, `scrypt$ln=15,r=8,p=3$<salt>$<key>`, salt and key in base64.
 * 2^15 × 8 × 128 bytes = 32 MiB at a time, three times over: about 0.3 s on a small computer, and as much for whoever guesses.
 */
import { isUtf8 } from 'node:buffer';
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { longestPasswordBytes, shortestPassword } from '@holdfast/protos/local/people';

interface Cost {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

const present = { ln: 15, r: 8, p: 3 } as const;
/** Hashes made before the parameters stood in them. */
const earlier: Cost = { N: 2 ** 15, r: 8, p: 1 };
const saltBytes = 16;
const keyBytes = 32;

/** Errors: PASSWORD_UNFIT, which says why. */
export const hashPassword = async (password: string): Promise<string> => {
  const characters = [...password].length;
  if (characters < shortestPassword || Buffer.byteLength(password) > longestPasswordBytes) {
    throw new HoldfastError(
      'PASSWORD_UNFIT',
      `a password has at least ${shortestPassword} characters and at most ${longestPasswordBytes} bytes`,
    );
  }
  const { ln, r, p } = present;
  const salt = randomBytes(saltBytes);
  const key = await derive(bytesOf(password), salt, { N: 2 ** ln, r, p });
  return ['scrypt', `ln=${ln},r=${r},p=${p}`, salt.toString('base64'), key.toString('base64')].join(
    '$',
  );
};

/** Whether the password is the one of the hash; false for a hash that is none. Takes the time of the hash's own parameters. */
export const isPassword = async (password: string | Uint8Array, hash: string): Promise<boolean> => {
  const parsed = parse(hash);
  if (parsed === undefined) return false;
  return timingSafeEqual(await derive(bytesOf(password), parsed.salt, parsed.cost), parsed.key);
};

/** A hash of no password: checking against it costs what checking against a user's does. */
export const nobodysHash = `scrypt$ln=${present.ln},r=${present.r},p=${present.p}$${Buffer.alloc(saltBytes).toString('base64')}$${Buffer.alloc(keyBytes).toString('base64')}`;

/** One form for what looks alike: keyboards differ in how they write `ü`. */
const bytesOf = (password: string | Uint8Array): Uint8Array => {
  if (typeof password !== 'string' && !isUtf8(password)) return password;
  const text = typeof password === 'string' ? password : Buffer.from(password).toString();
  return Buffer.from(text.normalize('NFC'));
};

const parse = (hash: string): { cost: Cost; salt: Buffer; key: Buffer } | undefined => {
  const parts = hash.split('$');
  const [kind, named] = parts;
  const [salt = '', key = ''] = parts.slice(-2);
  const cost = parts.length === 3 ? earlier : costOf(named ?? '');
  const expected = Buffer.from(key, 'base64');
  if (kind !== 'scrypt' || cost === undefined || parts.length > 4) return undefined;
  if (expected.length !== keyBytes) return undefined;
  return { cost, salt: Buffer.from(salt, 'base64'), key: expected };
};

/** Within bounds: a hash comes from a file, and must not say how much memory a check takes. */
const costOf = (text: string): Cost | undefined => {
  const [, ln, p] = /^ln=(1[4-7]),r=8,p=([1-8])$/.exec(text) ?? [];
  return ln === undefined ? undefined : { N: 2 ** Number(ln), r: 8, p: Number(p) };
};

const derive = (password: Uint8Array, salt: Uint8Array, cost: Cost): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const maxmem = 2 * 128 * cost.N * cost.r;
    scrypt(password, salt, keyBytes, { ...cost, maxmem }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
