/** Fault 12: a network that asks for a login answers in the control plane's place. To the gateway it is offline, and keeps nothing of it. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import {
  createServer as createHttp,
  get as httpGet,
  type IncomingMessage,
  type RequestListener,
} from 'node:http';
import { createServer as createHttps, get as httpsGet } from 'node:https';
import { type AddressInfo, createServer as createTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import t, { type Test } from 'tap';
import { FirmwareCache } from '../firmware/firmware-cache.js';
import { openTestGateway } from './test-gateway.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const image = randomBytes(100_000);
const sha256 = createHash('sha256').update(image).digest('hex');

/**
 * A portal: to TLS it shows the certificate that it is given, to anything else it speaks HTTP. It says yes to everything, with the very
 * image that is asked for, as a proxy that reads along would.
 */
const openPortal = async (t: Test, tls: { readonly cert: string; readonly key: string }) => {
  const requests: string[] = [];
  const answer: RequestListener = (request, response) => {
    requests.push(`${request.method} ${request.url}`);
    response.writeHead(200, { 'content-type': 'text/html', 'content-length': image.length });
    response.end(image);
  };
  const secure = createHttps({ ...tls, ALPNProtocols: ['h2', 'http/1.1'] }, answer);
  const plain = createHttp(answer);
  let connections = 0;
  const door = createTcp((socket) => {
    connections += 1;
    socket.on('error', () => undefined);
    socket.once('data', (first) => {
      socket.pause();
      socket.unshift(first);
      // A TLS record begins with its type, 22 for a handshake.
      (first[0] === 22 ? secure : plain).emit('connection', socket);
      process.nextTick(() => socket.resume());
    });
  });
  for (const server of [secure, plain]) server.on('tlsClientError', () => undefined);
  door.listen(0, '127.0.0.1');
  await once(door, 'listening');
  t.teardown(() => {
    door.close();
    secure.closeAllConnections();
    plain.closeAllConnections();
  });
  const { port } = door.address() as AddressInfo;
  return { port, requests, connections: () => connections };
};

const isRefused = (reason: string | null | undefined): boolean => /certificate/.test(reason ?? '');

t.test(
  'a portal that intercepts TLS is as no network: nothing is said to it, nothing kept of it',
  async (t) => {
    const fleet = await createTestFleet();
    const stranger = await createTestFleet({ fleet: fleet.fleet, site: fleet.site });
    const { tls } = await stranger.controlPlane();
    const portal = await openPortal(t, tls);
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-portal-'));
    const root = fleet.root.certificate;
    const own = (await fleet.gateway('gw-1')).tls;
    const gateway = await openTestGateway({
      dir: folder,
      address: `127.0.0.1:${portal.port}`,
      fleet: fleet.fleet,
      site: fleet.site,
      root,
      tls: own,
    });
    const cache = new FirmwareCache(
      {
        source: {
          address: `https://127.0.0.1:${portal.port}`,
          agent: verifiedAgent({ role: 'control-plane', root, at: fleet.now }, { client: own }),
        },
        log,
        now: () => Date.now(),
      },
      {
        folder: join(folder, 'firmware'),
        quotaBytes: 10_000_000,
        retryAfterMs: { first: 1, most: 5 },
      },
    );
    await cache.open();
    t.teardown(async () => {
      await gateway.close();
      await cache.close();
      await rm(folder, { recursive: true });
    });

    gateway.link.open();
    cache.need([
      { model: 'm', version: '2', sha256, size_bytes: image.length, file_name: 'i', path: '/i' },
    ]);
    await waitUntil(
      'both have been refused',
      () => isRefused(gateway.link.status().reason) && isRefused(cache.problem),
    );
    t.ok(portal.connections() >= 2);
    t.same(portal.requests, [], 'it never got to see a request');
    t.match(gateway.link.status(), { connected: false, lastContact: null });
    t.equal(gateway.plan.current(), undefined);
    t.equal(cache.isHeld(sha256), false, 'not even the right bytes');
    t.equal(cache.bytes, 0);
    for (const file of await readdir(join(folder, 'firmware'))) {
      t.equal((await stat(join(folder, 'firmware', file))).size, 0, `${file} is empty`);
    }
  },
);

t.test('the portal of the test does answer whoever trusts it', async (t) => {
  const { tls } = await (await createTestFleet()).controlPlane();
  const portal = await openPortal(t, tls);
  for (const get of [httpGet, httpsGet]) {
    const scheme = get === httpGet ? 'http' : 'https';
    const url = `${scheme}://127.0.0.1:${portal.port}/i`;
    const request = get(url, { rejectUnauthorized: false, agent: false });
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    t.equal(answer.statusCode, 200);
    answer.destroy();
  }
  t.same(portal.requests, ['GET /i', 'GET /i']);
});
