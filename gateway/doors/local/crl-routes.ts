/** The revocation lists, for whoever verifies certificates of this site with a program of their own; anybody may have them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { crlDer } from '@holdfast/provisioning/pki/crl';
import type { Route, RouteRequest } from './routes.js';

export interface CrlRoutesDeps {
  /** In PEM. */
  readonly siteCrl: () => string;
  /** In PEM; null before the first plan that has it. */
  readonly rootCrl: () => string | null;
}

export const crlRoutes = ({ siteCrl, rootCrl }: CrlRoutesDeps): readonly Route[] => {
  const serve =
    (list: () => string | null, isDer: boolean): Route['handle'] =>
    async ({ request, response }: RouteRequest) => {
      const pem = list();
      if (pem === null) {
        throw new HoldfastError('RESOURCE_NOT_FOUND', 'the control plane has not sent it yet');
      }
      const content = isDer ? crlDer(pem) : Buffer.from(pem);
      response.writeHead(200, {
        'content-type': isDer ? 'application/pkix-crl' : 'application/x-pem-file',
        'content-length': content.length,
      });
      response.end(request.method === 'HEAD' ? undefined : content);
      return undefined;
    };
  const lists = [
    ['site', siteCrl],
    ['root', rootCrl],
  ] as const;
  return lists.flatMap(([name, list]) =>
    (['GET', 'HEAD'] as const).flatMap((method): Route[] => [
      { method, path: `/crl/${name}.crl`, right: 'crl.read', handle: serve(list, true) },
      { method, path: `/crl/${name}.pem`, right: 'crl.read', handle: serve(list, false) },
    ]),
  );
};
