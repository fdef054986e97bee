/** Services of the gateway's own machine: user, password (kept as a scrypt hash) and the topics a policy grants. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { ServiceIdentity } from '../trust/identity.js';
import { PasswordChecks } from '../trust/password-checks.js';

export interface ServiceAccount {
  /** 1–64 of `[A-Za-z0-9_-]`. */
  readonly user: string;
  /** By provisioning/pki/password-hash. */
  readonly passwordHash: string;
  /** Topic filters; one that begins with `!` is an exception to the others. */
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

export class ServiceAccounts {
  readonly #accounts: ReadonlyMap<string, ServiceAccount>;
  readonly #checks = new PasswordChecks();
  /** The right password of each user once it was checked, under a key of this run: a service that comes again costs no check. */
  readonly #proven = new Map<string, Buffer>();
  /** Checks under way: connections that a service opens together share one. */
  readonly #underWay = new Map<string, Promise<boolean>>();
  readonly #key = randomBytes(32);

  constructor(accounts: readonly ServiceAccount[]) {
    this.#accounts = new Map(accounts.map((account) => [account.user, account]));
  }

  /** Who it is; undefined when user or password is wrong, or too many ask at once. Takes as long for a user that is not there. */
  async authenticate(user: string, password: Uint8Array): Promise<ServiceIdentity | undefined> {
    const proof = createHmac('sha256', this.#key).update(password).digest();
    const proven = this.#proven.get(user);
    if (proven === undefined || !timingSafeEqual(proven, proof)) {
      const asked = `${proof.toString('hex')} ${user}`;
      const check = this.#underWay.get(asked) ?? this.#isRight(user, password);
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

  async #isRight(user: string, password: Uint8Array): Promise<boolean> {
    const hash = this.#accounts.get(user)?.passwordHash;
    return (await this.#checks.check(password, hash)) === 'right';
  }
}
