/**
 * The sessions of people who signed in, by the hash of their token. They live in memory: their ends are told by a clock that never runs
 * back, and which begins anew with the program; so a restart ends them all.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { PersonIdentity } from '../identity.js';
import type { KnownUser } from './local-users.js';

export interface PeopleSessionsDependencies {
  readonly users: { find(name: string): KnownUser | undefined };
  /** Milliseconds that never run back. */
  readonly monotonic: () => number;
}

export interface PeopleSessionsOptions {
  readonly idleMs?: number;
  readonly lifetimeMs?: number;
  readonly maxOfUser?: number;
  readonly maxSessions?: number;
}

interface Session {
  readonly user: string;
  /** Of the password it was opened with: another one ends it. */
  readonly passwordHash: string;
  readonly openedAt: number;
  usedAt: number;
}

/** Tokens of a user that are remembered as his beyond their end. */
const maxEarlier = 16;

export class PeopleSessions {
  readonly #deps: PeopleSessionsDependencies;
  readonly options: Required<PeopleSessionsOptions>;
  /** In the order of their last use. */
  readonly #sessions = new Map<string, Session>();
  readonly #earlier = new Map<string, string[]>();

  constructor(deps: PeopleSessionsDependencies, options: PeopleSessionsOptions = {}) {
    this.#deps = deps;
    this.options = {
      idleMs: 3_600_000,
      lifetimeMs: 43_200_000,
      maxOfUser: 10,
      maxSessions: 500,
      ...options,
    };
  }

  /** The token of a new session: 256 random bits. The user's session that was unused for longest goes when there are too many. */
  open({ user, passwordHash }: KnownUser): string {
    const token = `hfs_${randomBytes(32).toString('base64url')}`;
    const hash = hashOf(token);
    const now = this.#deps.monotonic();
    this.#sessions.set(hash, { user, passwordHash, openedAt: now, usedAt: now });
    this.#makeRoom(user);
    const earlier = this.#earlier.get(user) ?? [];
    this.#earlier.delete(user);
    this.#earlier.set(user, [...earlier, hash].slice(-maxEarlier));
    if (this.#earlier.size > this.options.maxSessions) {
      const [oldest] = this.#earlier.keys();
      if (oldest !== undefined) this.#earlier.delete(oldest);
    }
    return token;
  }

  /** Who has this token, with the role he has now; the session counts as used. */
  find(token: string): PersonIdentity | undefined {
    const hash = hashOf(token);
    const session = this.#sessions.get(hash);
    if (session === undefined) return undefined;
    const now = this.#deps.monotonic();
    const user = this.#deps.users.find(session.user);
    const { idleMs, lifetimeMs } = this.options;
    const isOver = now - session.usedAt >= idleMs || now - session.openedAt >= lifetimeMs;
    this.#sessions.delete(hash);
    if (isOver || user === undefined || user.passwordHash !== session.passwordHash)
      return undefined;
    session.usedAt = now;
    this.#sessions.set(hash, session);
    return { kind: 'person', user: user.user, role: user.role };
  }

  close(token: string): void {
    this.#sessions.delete(hashOf(token));
  }

  /** What is known of a client that shows an earlier token of this user; undefined when it is none. */
  clientOf(user: string, token: string | undefined): string | undefined {
    if (token === undefined) return undefined;
    const hash = hashOf(token);
    return this.#earlier.get(user)?.includes(hash) === true ? hash : undefined;
  }

  #makeRoom(user: string): void {
    const { maxOfUser, maxSessions } = this.options;
    const own = [...this.#sessions].filter(([, session]) => session.user === user);
    const [ownOldest] = own;
    if (own.length > maxOfUser && ownOldest !== undefined) this.#sessions.delete(ownOldest[0]);
    if (this.#sessions.size <= maxSessions) return;
    const [oldest] = this.#sessions.keys();
    if (oldest !== undefined) this.#sessions.delete(oldest);
  }
}

/** The hash is looked up, never compared, so no time tells how much of a guess is right. */
const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');
