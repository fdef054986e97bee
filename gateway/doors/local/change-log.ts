/** Notes in the journal who asked for a change before it is made: what came of it has entries of its own, and those need not name anybody. */
import { nameOf, type Principal } from '../../trust/identity.js';
import type { Route } from './routes.js';

export type NoteChange = (change: {
  readonly actor: string;
  readonly method: string;
  readonly path: string;
}) => Promise<void>;

const longestPath = 512;

/** The route with a note before its work, if it changes anything on somebody's word. */
export const noted = (note: NoteChange, route: Route): Route =>
  route.method === 'GET' || route.method === 'HEAD' || route.right.startsWith('session.')
    ? route
    : {
        ...route,
        handle: async (request) => {
          const path = (request.request.url ?? '').slice(0, longestPath);
          await note({ actor: actorName(request.who), method: route.method, path });
          return route.handle(request);
        },
      };

const actorName = (who: Principal): string => (who.kind === 'person' ? who.user : nameOf(who));
