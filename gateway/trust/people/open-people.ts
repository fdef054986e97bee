/** Opens who may sign in at this gateway, and how. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { LocalUser } from '@holdfast/protos/local/people';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Plan } from '../../link/plan.js';
import type { SiteStore } from '../../store/site-store.js';
import { AccessLog } from '../access-log.js';
import { PasswordChecks } from '../password-checks.js';
import { type KnownUser, LocalUsers } from './local-users.js';
import { PeopleSessions } from './people-sessions.js';
import { SignIn } from './sign-in.js';
import { SignInLimit } from './sign-in-limit.js';

export interface PeopleDependencies {
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly log: StoreLog;
  readonly plan: Pick<Plan, 'current'>;
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

/** The section `people` of the configuration. */
export interface PeopleOptions {
  readonly users: readonly Omit<KnownUser, 'source'>[];
  readonly sessionIdleMs: number;
  readonly sessionLifetimeMs: number;
}

export interface People {
  readonly users: LocalUsers;
  readonly sessions: PeopleSessions;
  readonly signIn: SignIn;
  readonly access: AccessLog;
}

/** Errors: CONFIGURATION_INVALID when a user stands twice in the configuration. */
export const openPeople = async (
  { site, clock, log, plan, onClose }: PeopleDependencies,
  options: PeopleOptions,
): Promise<People> => {
  const names = new Set(options.users.map(({ user }) => user));
  if (names.size < options.users.length) {
    throw new HoldfastError('CONFIGURATION_INVALID', 'people.users: a user is named twice');
  }
  const access = new AccessLog({ site, clock, log });
  access.open();
  onClose('log of refused access', () => access.close());
  const planned = (): readonly LocalUser[] =>
    plan.current()?.documents.users.get('users')?.body.users ?? [];
  const users = await LocalUsers.open({ site, clock, planned }, { configured: options.users });
  const monotonic = () => clock.monotonic();
  const sessions = new PeopleSessions(
    { users, monotonic },
    { idleMs: options.sessionIdleMs, lifetimeMs: options.sessionLifetimeMs },
  );
  const signIn = new SignIn({
    users,
    sessions,
    checks: new PasswordChecks(),
    limit: new SignInLimit(),
    site,
    lockedOut: access.lockedOut,
    clock,
  });
  return { users, sessions, signIn, access };
};
