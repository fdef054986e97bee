import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Role } from '@holdfast/protos/local/people';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import t, { type Test } from 'tap';
import type { Principal } from '../../trust/identity.js';
import { becomes, flashedSite, pump } from '../serial/flash/test-flashed-site.js';
import { flashRoutes } from './flash-routes.js';
import { openHttpDoor } from './http-door.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const setUp = async (t: Test) => {
  const { site, board } = await flashedSite(t);
  const { tls } = await (await createTestFleet()).gatewayServer('g');
  const door = await openHttpDoor(
    {
      routes: flashRoutes(site),
      identify: ({ headers }): Principal => {
        const role = headers.authorization?.replace('Bearer ', '') as Role;
        return { kind: 'person', user: `a-${role}`, role };
      },
      refusal: (_request, { reason }) => new HoldfastError('NOT_AUTHORISED', reason),
      log,
    },
    { host: '127.0.0.1', port: 0, tls, asksForCertificate: false },
  );
  t.teardown(() => door.close());
  const ask = async (path: string, role: Role) => {
    const request = httpsRequest({
      ...{ host: '127.0.0.1', port: door.port, method: 'POST', rejectUnauthorized: false },
      path: `/api/v1/devices/${path}`,
      headers: { authorization: `Bearer ${role}`, 'content-type': 'application/json' },
    });
    request.end('{}');
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return { status: response.statusCode, body: JSON.parse(await text(response)) as object };
  };
  return { site, board, ask };
};

t.test('technicians have a board flashed, viewers do not', async (t) => {
  const { site, board, ask } = await setUp(t);
  await becomes(site, 'succeeded');
  await site.until(() => (site.flashing.status(pump)?.phase === 'idle' ? true : undefined));
  t.equal((await ask(`${pump}/flash`, 'viewer')).status, 403);
  t.equal((await ask('pump-2/flash', 'technician')).status, 404);
  t.equal((await ask(`${pump}/flash?force=1`, 'technician')).status, 400);
  t.match(await ask(`${pump}/flash?version=1.0.0`, 'technician'), {
    status: 200,
    body: { device: pump, version: '1.0.0' },
  });
  t.match(site.flashing.status(pump), { version: '1.0.0', by: 'a-technician' });
  await site.until(() => (site.flashing.status(pump)?.running === '1.0.0' ? true : undefined));
  t.equal(board.holds, '1.0.0');
});
