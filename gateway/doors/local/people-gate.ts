/** Knows who asks at the people's door by the token that is shown, and tells refusals; whoever shows wrong ones is slowed down, by address. */
import type { IncomingMessage } from 'node:http';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { operatorName } from '@holdfast/protos/local/people';
import type { AccessRefusal } from '../../trust/access-log.js';
import { AttemptLimit } from '../../trust/attempt-limit.js';
import { anonymous, type PersonIdentity, type Principal } from '../../trust/identity.js';
import { isOperatorToken } from '../../trust/operator-token.js';
import type { HttpDoorDeps, RefusedCall } from './http-door.js';

export interface PeopleGateDeps {
  readonly operatorTokenSha256: () => string;
  /** Who signed in and got this token; undefined when nobody did, or it is over. */
  readonly findSession: (token: string) => PersonIdentity | undefined;
  readonly onRefused?: (refusal: AccessRefusal) => void;
  /** Milliseconds that never run back. */
  readonly monotonic: () => number;
}

export interface PeopleGate extends Pick<HttpDoorDeps, 'refusal'> {
  readonly identify: (request: IncomingMessage) => Principal;
}

export const peopleGate = (deps: PeopleGateDeps): PeopleGate => {
  const failures = new AttemptLimit({ burst: 20, refillMs: 3_000 });
  return {
    identify: (request) => {
      const token = tokenOf(request);
      if (token === undefined) return anonymous;
      // First, so that whoever signed in does not depend on the operator's token.
      const person = deps.findSession(token);
      if (person !== undefined) return person;
      return isOperatorToken(token, deps.operatorTokenSha256()) ? operator : wrongToken;
    },
    refusal: (request, { who, route, reason }: RefusedCall) => {
      deps.onRefused?.({ who, verb: 'call', what: route.right, reason });
      if (who.kind !== 'anonymous') {
        return new HoldfastError('NOT_AUTHORISED', `this is not for ${roleOf(who)}s`, {
          data: { reason },
        });
      }
      const address = request.socket.remoteAddress ?? '';
      const retryAfterMs = failures.delayMs(address, deps.monotonic());
      if (retryAfterMs > 0) {
        return new HoldfastError('TOO_MANY_ATTEMPTS', 'too many tokens that were wrong', {
          data: { retryAfterMs },
        });
      }
      if (who === wrongToken) failures.failed(address, deps.monotonic());
      const message =
        who === wrongToken
          ? 'this token is not one, or its session is over'
          : 'this needs somebody who has signed in';
      return new HoldfastError('NOT_AUTHENTICATED', message, { data: { reason } });
    },
  };
};

export const tokenOf = (request: IncomingMessage): string | undefined =>
  /^Bearer (\S{1,256})$/.exec(request.headers.authorization ?? '')?.[1];

const operator: PersonIdentity = { kind: 'person', user: operatorName, role: 'installer' };
const wrongToken: Principal = { kind: 'anonymous', reason: 'a token that is not one' };

const roleOf = (who: Principal): string => (who.kind === 'person' ? who.role : who.kind);
