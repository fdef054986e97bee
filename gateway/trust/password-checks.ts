/** Checks of passwords, so many at a time: a flood of guesses must not take the memory or the thread pool from everything else. */
import { isPassword, nobodysHash } from '@holdfast/provisioning/pki/password-hash';

export interface PasswordChecksOptions {
  /** Under way at a time; each takes 32 MiB and a thread. */
  readonly maxChecks?: number;
  readonly maxWaiting?: number;
}

export class PasswordChecks {
  readonly #options: Required<PasswordChecksOptions>;
  readonly #waiting: (() => void)[] = [];
  #underWay = 0;

  constructor(options: PasswordChecksOptions = {}) {
    this.#options = { maxChecks: 2, maxWaiting: 16, ...options };
  }

  /**
   * Whether it is the password of this hash; `busy` when too many are asked for at once. Without a hash, of a user who is not there, it
   * takes as long and is never right.
   */
  async check(
    password: string | Uint8Array,
    hash: string | undefined,
  ): Promise<'right' | 'wrong' | 'busy'> {
    if (this.#underWay >= this.#options.maxChecks) {
      if (this.#waiting.length >= this.#options.maxWaiting) return 'busy';
      // Whoever is done hands its place on, so nobody slips in between.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#underWay += 1;
    }
    try {
      const isRight = await isPassword(password, hash ?? nobodysHash);
      return hash !== undefined && isRight ? 'right' : 'wrong';
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#underWay -= 1;
      else next();
    }
  }
}
