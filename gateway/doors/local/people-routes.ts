/** The local API for people themselves: signing in and out, and the users made at this gateway. Only hashes of passwords come here but for signing in. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { passwordHash, role, signInRequest, userName } from '@holdfast/protos/local/people';
import * as v from 'valibot';
import type { Principal } from '../../trust/identity.js';
import type { KnownUser, LocalUsers } from '../../trust/people/local-users.js';
import type { PeopleSessions } from '../../trust/people/people-sessions.js';
import type { SignIn } from '../../trust/people/sign-in.js';
import { tokenOf } from './people-gate.js';
import { parseBody } from './request-body.js';
import type { Route, RouteRequest } from './routes.js';

export interface PeopleRoutesDeps {
  readonly people: {
    readonly users: Pick<LocalUsers, 'all' | 'find' | 'add' | 'change' | 'remove'>;
    readonly sessions: Pick<PeopleSessions, 'find' | 'close'>;
    readonly signIn: Pick<SignIn, 'open'>;
  };
  /** Throws GATEWAY_FENCED: then nothing can be changed here. */
  readonly fence: { check(): void };
}

const newUser = v.strictObject({ user: userName, role, password_hash: passwordHash });
const userChange = v.strictObject({
  role: v.exactOptional(role),
  password_hash: v.exactOptional(passwordHash),
});

export const peopleRoutes = ({ people, fence }: PeopleRoutesDeps): readonly Route[] => {
  const { users, sessions, signIn } = people;

  const openSession = async ({ body, request }: RouteRequest): Promise<object> => {
    const { user, password, earlier_token } = parseBody(signInRequest, body);
    return signIn.open({
      user,
      password,
      earlierToken: earlier_token,
      remoteAddress: request.socket.remoteAddress ?? '',
    });
  };

  const closeSession = async ({ request }: RouteRequest): Promise<object> => {
    // The operator token is no session, and stays.
    sessions.close(tokenOf(request) ?? '');
    return {};
  };

  const named = ({ params }: RouteRequest): string => params.get('user') ?? '';

  const postUser = async ({ body, who }: RouteRequest): Promise<object> => {
    fence.check();
    const { user, role, password_hash } = parseBody(newUser, body);
    await users.add({ user, role, passwordHash: password_hash }, actorOf(who));
    return { user: userRow(users.find(user)) };
  };

  const patchUser = async (request: RouteRequest): Promise<object> => {
    fence.check();
    const { role, password_hash } = parseBody(userChange, request.body);
    await users.change(
      named(request),
      {
        ...(role === undefined ? {} : { role }),
        ...(password_hash === undefined ? {} : { passwordHash: password_hash }),
      },
      actorOf(request.who),
    );
    return { user: userRow(users.find(named(request))) };
  };

  const deleteUser = async (request: RouteRequest): Promise<object> => {
    fence.check();
    await users.remove(named(request), actorOf(request.who));
    return {};
  };

  const path = (rest: string): string => `/api/v1${rest}`;
  return [
    { method: 'POST', path: path('/sessions'), right: 'session.open', handle: openSession },
    {
      method: 'DELETE',
      path: path('/sessions/current'),
      right: 'session.close',
      handle: closeSession,
    },
    {
      method: 'GET',
      path: path('/me'),
      right: 'site.read',
      handle: async ({ who }) => ({
        user: actorOf(who),
        role: who.kind === 'person' ? who.role : null,
      }),
    },
    {
      method: 'GET',
      path: path('/users'),
      right: 'user.read',
      handle: async () => ({ users: users.all().map(userRow) }),
    },
    { method: 'POST', path: path('/users'), right: 'user.manage', handle: postUser },
    { method: 'PATCH', path: path('/users/:user'), right: 'user.manage', handle: patchUser },
    { method: 'DELETE', path: path('/users/:user'), right: 'user.manage', handle: deleteUser },
  ];
};

/** The person on whose word something is changed. Errors: INTERNAL: a route of another door has come here. */
export const actorOf = (who: Principal): string => {
  if (who.kind === 'person') return who.user;
  throw new HoldfastError('INTERNAL', `${who.kind} is no person`);
};

const userRow = (user: KnownUser | undefined) =>
  user === undefined ? null : { user: user.user, role: user.role, source: user.source };
