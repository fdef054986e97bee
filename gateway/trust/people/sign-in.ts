/** Signing in with user and password, WAN or not: bounded, slowed down for who guesses, and the same for users who are not there. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { SignInAnswer } from '@holdfast/protos/local/people';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../../store/journal.js';
import type { SiteStore } from '../../store/site-store.js';
import type { PasswordChecks } from '../password-checks.js';
import type { LocalUsers } from './local-users.js';
import type { PeopleSessions } from './people-sessions.js';
import { type Origin, originAddress, type SignInLimit } from './sign-in-limit.js';

export interface SignInDependencies {
  readonly users: Pick<LocalUsers, 'find'>;
  readonly sessions: PeopleSessions;
  readonly checks: PasswordChecks;
  readonly limit: SignInLimit;
  readonly site: Pick<SiteStore, 'commit'>;
  /** Tells of a user whom an address tried too often. */
  readonly lockedOut: (event: {
    readonly user: string | null;
    readonly address: string;
    readonly failures: number;
    readonly waitMs: number;
  }) => void;
  readonly clock: Clock;
}

export interface SignInAttempt {
  readonly user: string;
  readonly password: string;
  readonly earlierToken?: string | undefined;
  readonly remoteAddress: string;
}

export class SignIn {
  readonly #deps: SignInDependencies;

  constructor(deps: SignInDependencies) {
    this.#deps = deps;
  }

  /** Errors: NOT_AUTHENTICATED, TOO_MANY_ATTEMPTS (with `retryAfterMs`), and those of the store. */
  async open({
    user: name,
    password,
    earlierToken,
    remoteAddress,
  }: SignInAttempt): Promise<SignInAnswer> {
    const { users, sessions, checks, limit, site, clock } = this.#deps;
    const address = originAddress(remoteAddress);
    const origin: Origin = { address, client: sessions.clientOf(name, earlierToken) };
    const user = users.find(name);
    const { waitMs, failures } = limit.begin(name, origin, clock.monotonic());
    if (waitMs > 0) {
      this.#deps.lockedOut({ user: user?.user ?? null, address, failures, waitMs });
      throw tooMany(waitMs);
    }
    const outcome = await checks.check(password, user?.passwordHash);
    if (outcome === 'busy') {
      limit.takeBack(name, origin);
      throw tooMany(1_000);
    }
    if (outcome === 'wrong' || user === undefined) {
      throw new HoldfastError('NOT_AUTHENTICATED', 'user or password is wrong', {
        data: { next: 'Try again, or ask an installer for a new password' },
      });
    }
    limit.succeeded(name, origin);
    await site.commit([
      journalEntry(
        'audit',
        'person_signed_in',
        { user: name, role: user.role, address },
        clock.now(),
      ),
    ]);
    const { idleMs, lifetimeMs } = sessions.options;
    // Bound to the password that was checked: if it was changed meanwhile, the session is over with its first use.
    const token = sessions.open(user);
    return { token, user: name, role: user.role, idle_ms: idleMs, lifetime_ms: lifetimeMs };
  }
}

const tooMany = (retryAfterMs: number): HoldfastError =>
  new HoldfastError(
    'TOO_MANY_ATTEMPTS',
    `too many attempts failed: try again in ${Math.ceil(retryAfterMs / 1_000)} s`,
    { data: { retryAfterMs } },
  );
