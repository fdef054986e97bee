/**
 * Who may sign in at this gateway: the users of the plan, of its configuration (`users:`), and those made at the gateway itself. All of
 * them count; where one name stands in several, the plan's holds, then the configuration's. So the cloud can change anybody's password or
 * role, and a site without a cloud has its own people.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isUserName, type LocalUser, type Role } from '@holdfast/protos/local/people';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { journalEntry } from '../../store/journal.js';
import type { SiteStore } from '../../store/site-store.js';

export type UserSource = 'plan' | 'configuration' | 'gateway';

export interface KnownUser {
  readonly user: string;
  readonly role: Role;
  readonly passwordHash: string;
  readonly source: UserSource;
}

export interface LocalUsersDependencies {
  readonly site: SiteStore;
  readonly clock: Clock;
  /** The users of the plan now. */
  readonly planned: () => readonly LocalUser[];
}

export interface LocalUsersOptions {
  readonly configured: readonly Omit<KnownUser, 'source'>[];
  readonly maxUsers?: number;
}

export class LocalUsers {
  readonly #deps: LocalUsersDependencies;
  readonly #configured: ReadonlyMap<string, KnownUser>;
  readonly #made = new Map<string, KnownUser>();
  readonly #maxUsers: number;
  /** Changes are made one after the other, each on what is committed. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(deps: LocalUsersDependencies, options: LocalUsersOptions) {
    this.#deps = deps;
    this.#maxUsers = options.maxUsers ?? 200;
    this.#configured = new Map(
      options.configured.map((user) => [user.user, { ...user, source: 'configuration' }]),
    );
  }

  static async open(deps: LocalUsersDependencies, options: LocalUsersOptions): Promise<LocalUsers> {
    const users = new LocalUsers(deps, options);
    const rows = await deps.site.read.all<{ user: string; role: Role; password_hash: string }>(
      'SELECT user, role, password_hash FROM local_users',
    );
    for (const { user, role, password_hash } of rows) {
      users.#made.set(user, { user, role, passwordHash: password_hash, source: 'gateway' });
    }
    return users;
  }

  find(name: string): KnownUser | undefined {
    const planned = this.#deps.planned().find(({ user }) => user === name);
    if (planned !== undefined) return fromPlan(planned);
    return this.#configured.get(name) ?? this.#made.get(name);
  }

  /** By name. */
  all(): KnownUser[] {
    const users = new Map([
      ...this.#made,
      ...this.#configured,
      ...this.#deps.planned().map((one) => [one.user, fromPlan(one)] as const),
    ]);
    return [...users.values()].sort((a, b) => (a.user < b.user ? -1 : 1));
  }

  /** Errors: REQUEST_INVALID, RESOURCE_EXISTS, REQUEST_TOO_LARGE (as many users as there may be), and those of the store. */
  add({ user, role, passwordHash }: Omit<KnownUser, 'source'>, actor: string): Promise<void> {
    return this.#inTurn(async () => {
      if (!isUserName(user)) throw new HoldfastError('REQUEST_INVALID', `${user} is no user name`);
      const existing = this.find(user);
      if (existing !== undefined) {
        throw new HoldfastError(
          'RESOURCE_EXISTS',
          `there is a user ${user} already${existing.source === 'gateway' ? '' : `, in ${placeOf(existing)}`}`,
        );
      }
      if (this.#made.size >= this.#maxUsers) {
        throw new HoldfastError('REQUEST_TOO_LARGE', `a site has at most ${this.#maxUsers} users`);
      }
      await this.#save({ user, role, passwordHash, source: 'gateway' }, actor);
    });
  }

  /** Errors: RESOURCE_NOT_FOUND, RESOURCE_CONFLICT (it is not the gateway's own), and those of the store. */
  change(
    name: string,
    change: Partial<Pick<KnownUser, 'role' | 'passwordHash'>>,
    actor: string,
  ): Promise<void> {
    return this.#inTurn(() => this.#save({ ...this.#own(name), ...change }, actor));
  }

  /** Errors as `change`. */
  remove(name: string, actor: string): Promise<void> {
    return this.#inTurn(async () => {
      const { user } = this.#own(name);
      const at = this.#deps.clock.now();
      await this.#deps.site.commit([
        { sql: 'DELETE FROM local_users WHERE user = ?', params: [user] },
        journalEntry('audit', 'user_changed', { actor, user, role: null }, at),
      ]);
      this.#made.delete(user);
    });
  }

  #own(name: string): KnownUser {
    const user = this.find(name);
    if (user === undefined) {
      throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no user ${name} here`);
    }
    if (user.source === 'gateway') return user;
    throw new HoldfastError(
      'RESOURCE_CONFLICT',
      `${name} stands in ${placeOf(user)} and can only be changed there`,
    );
  }

  async #save(user: KnownUser, actor: string): Promise<void> {
    const at = this.#deps.clock.now();
    await this.#deps.site.commit([
      {
        sql: 'INSERT OR REPLACE INTO local_users (user, role, password_hash, changed_at) VALUES (?, ?, ?, ?)',
        params: [user.user, user.role, user.passwordHash, at],
      },
      journalEntry('audit', 'user_changed', { actor, user: user.user, role: user.role }, at),
    ]);
    this.#made.set(user.user, user);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }
}

const fromPlan = ({ user, role, password_hash }: LocalUser): KnownUser => ({
  user,
  role,
  passwordHash: password_hash,
  source: 'plan',
});

const placeOf = ({ source }: KnownUser): string =>
  source === 'plan' ? 'the plan of the control plane' : 'the configuration of the gateway';
