/** Services of the gateway's own machine: user, password (kept as a scrypt hash) and the topics a policy grants. */
import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import type { ServiceIdentity } from '../trust/identity.js';

export interface ServiceAccount {
  /** 1–64 of `[A-Za-z0-9_-]`. */
  readonly user: string;
  /** By `hashPassword`. */
  readonly passwordHash: string;
  /** Topic filters. */
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** 2^15 × 8 × 128 bytes = 32 MiB and about 0.1 s a check. */
const cost = { N: 32_768, r: 8, p: 1, maxmem: 64 * 1_024 * 1_024 } as const;
const keyBytes = 32;
/** Checks under way at most: a flood of guesses must not take the memory or the thread pool from everything else. */
const maxChecks = 2;
const maxWaiting = 16;

/** `scrypt$<salt>$<key>`, both in base64. */
export async function hashPassword(password: Uint8Array): Promise<string> {
  const salt = randomBytes(16);
  const key = await derive(password, salt);
  return ['scrypt', salt.toString('base64'), key.toString('base64')].join('$');
}

export class ServiceAccounts {
  readonly #accounts: ReadonlyMap<string, ServiceAccount>;
  readonly #waiting: (() => void)[] = [];
  /** The right password of each user once it was checked, under a key of this run: a service that comes again costs no check. */
  readonly #proven = new Map<string, Buffer>();
  /** Checks under way: connections that a service opens together share one. */
  readonly #underWay = new Map<string, Promise<boolean>>();
  readonly #key = randomBytes(32);
  #checks = 0;

  constructor(accounts: readonly ServiceAccount[]) {
    this.#accounts = new Map(accounts.map((account) => [account.user, account]));
  }

  /** Who it is; undefined when user or password is wrong, or too many ask at once. Takes as long for a user that is not there. */
  async authenticate(user: string, password: Uint8Array): Promise<ServiceIdentity | undefined> {
    const proof = createHmac('sha256', this.#key).update(password).digest();
    const proven = this.#proven.get(user);
    if (proven === undefined || !timingSafeEqual(proven, proof)) {
      const asked = `${proof.toString('hex')} ${user}`;
      const check = this.#underWay.get(asked) ?? this.#check(user, password);
      this.#underWay.set(asked, check);
      try {
        if (!(await check)) return undefined;
      } finally {
        this.#underWay.delete(asked);
      }
      this.#proven.set(user, proof);
    }
    const account = this.#accounts.get(user);
    if (account === undefined) return undefined;
    const { publish, subscribe } = account;
    return { kind: 'service', name: user, publish, subscribe };
  }

  async #check(user: string, password: Uint8Array): Promise<boolean> {
    if (this.#checks >= maxChecks) {
      if (this.#waiting.length >= maxWaiting) return false;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#checks += 1;
    try {
      const account = this.#accounts.get(user);
      const isRight = await isPassword(password, account?.passwordHash ?? nobodys);
      return account !== undefined && isRight;
    } finally {
      this.#checks -= 1;
      this.#waiting.shift()?.();
    }
  }
}

/** A hash of no password, so that an unknown user costs what a known one does. */
const nobodys = `scrypt$${Buffer.alloc(16).toString('base64')}$${Buffer.alloc(keyBytes).toString('base64')}`;

async function isPassword(password: Uint8Array, hash: string): Promise<boolean> {
  const [kind, salt = '', key = ''] = hash.split('$');
  const expected = Buffer.from(key, 'base64');
  const derived = await derive(password, Buffer.from(salt, 'base64'));
  return kind === 'scrypt' && expected.length === keyBytes && timingSafeEqual(derived, expected);
}

const derive = (password: Uint8Array, salt: Uint8Array): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    scrypt(password, salt, keyBytes, cost, (error, key) => (error ? reject(error) : resolve(key)));
  });
