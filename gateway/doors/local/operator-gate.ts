/** Lets through who shows the operator's token; whoever shows wrong ones is slowed down, by address. */
import type { IncomingMessage } from 'node:http';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { AttemptLimit } from '../../trust/attempt-limit.js';
import { isOperatorToken } from '../../trust/operator-token.js';
import type { Asker } from './http-door.js';
import type { Route } from './routes.js';

export interface OperatorGateDeps {
  readonly operatorTokenSha256: () => string;
  /** Milliseconds that never run back. */
  readonly monotonic: () => number;
}

export const operatorGate = ({ operatorTokenSha256, monotonic }: OperatorGateDeps) => {
  const failures = new AttemptLimit({ burst: 20, refillMs: 3_000 });
  return (request: IncomingMessage, requires: Route['requires']): Asker => {
    if (requires !== 'operator token') return {};
    const address = request.socket.remoteAddress ?? '';
    const token = /^Bearer (\S{1,256})$/.exec(request.headers.authorization ?? '')?.[1];
    // Whoever has the token is never kept out by somebody else at the same address.
    if (token !== undefined && isOperatorToken(token, operatorTokenSha256())) return {};
    const retryAfterMs = failures.delayMs(address, monotonic());
    if (retryAfterMs > 0) {
      throw new HoldfastError('TOO_MANY_ATTEMPTS', 'too many tokens that were wrong', {
        data: { retryAfterMs },
      });
    }
    if (token !== undefined) failures.failed(address, monotonic());
    const message =
      token === undefined ? 'this needs the operator token' : 'this is not the operator token';
    throw new HoldfastError('NOT_AUTHENTICATED', message);
  };
};
