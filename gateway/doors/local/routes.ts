/** The routes of a listener: found by method and path, so few that a walk over them is as fast as anything. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Principal } from '../../trust/identity.js';
import type { Right } from '../../trust/rights.js';

export interface RouteRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** What stands in the path for each `:name`, decoded. */
  readonly params: ReadonlyMap<string, string>;
  readonly query: URLSearchParams;
  /** Parsed JSON, of POST, PUT and PATCH; a Uint8Array where the route takes bytes. */
  readonly body: unknown;
  /** Who asks; has the route's right. */
  readonly who: Principal;
}

export interface Route {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Segments; one that begins with `:` stands for any. */
  readonly path: string;
  /** What whoever asks needs to have; `trust/rights.ts` says who has it. */
  readonly right: Right;
  /** What the body of a request is: JSON unless it says otherwise. */
  readonly body?: 'json' | 'bytes';
  /** What is answered as JSON; undefined when it has answered by itself. */
  readonly handle: (request: RouteRequest) => Promise<object | undefined>;
}

export interface FoundRoute {
  readonly route: Route;
  readonly params: ReadonlyMap<string, string>;
  readonly query: URLSearchParams;
}

const longestUrl = 2_048;

/** Throws RESOURCE_NOT_FOUND, REQUEST_INVALID for a path that cannot be decoded, METHOD_NOT_ALLOWED. */
export const findRoute = (
  routes: readonly Route[],
  { method, url = '/' }: Pick<IncomingMessage, 'method' | 'url'>,
): FoundRoute => {
  if (url.length > longestUrl)
    throw new HoldfastError('REQUEST_INVALID', 'the address is too long');
  const [path = '', search = ''] = url.split(/\?(.*)/s, 2);
  const segments = path.split('/').map(decode);
  let isKnown = false;
  for (const route of routes) {
    const params = match(route.path.split('/'), segments);
    if (params === undefined) continue;
    if (route.method === method) return { route, params, query: new URLSearchParams(search) };
    isKnown = true;
  }
  throw isKnown
    ? new HoldfastError('METHOD_NOT_ALLOWED', `${method} is not possible here`)
    : new HoldfastError('RESOURCE_NOT_FOUND', `there is nothing at ${path.slice(0, 200)}`);
};

const decode = (segment: string): string => {
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', 'the address is not well formed', { cause });
  }
};

const match = (
  pattern: readonly string[],
  segments: readonly string[],
): ReadonlyMap<string, string> | undefined => {
  if (pattern.length !== segments.length) return undefined;
  const params = new Map<string, string>();
  for (const [i, part] of pattern.entries()) {
    const segment = segments[i] ?? '';
    if (part.startsWith(':')) params.set(part.slice(1), segment);
    else if (part !== segment) return undefined;
  }
  return params;
};
