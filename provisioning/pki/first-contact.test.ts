import { once } from 'node:events';
import { createServer as createHttps, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createServer as createTcp } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import axios from 'axios';
import t, { type Test } from 'tap';
import { freePort } from '../program/free-port.js';
import { pemChain } from './certificate.js';
import { connectVerified, fetchRoot, type ServerTrust, verifiedAgent } from './first-contact.js';
import { type Credentials, createTestFleet } from './test-fleet.js';
import { verifyPeer } from './tls-peer.js';

const fleet = await createTestFleet();
const stranger = await createTestFleet();
const trust = (change: Partial<ServerTrust> = {}): ServerTrust => ({
  role: 'gateway-server',
  root: fleet.root.certificate.sha256,
  at: fleet.now,
  ...change,
});

/** A TLS server that keeps what it is sent. */
const serve = async (t: Test, { tls }: Pick<Credentials, 'tls'>) => {
  const received: Buffer[] = [];
  const server = createServer(tls, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => received.push(data));
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { host: '127.0.0.1', port, received, server };
};

t.test('connects to a server of the fleet and learns its root from the fingerprint', async (t) => {
  const { host, port } = await serve(t, await fleet.gatewayServer('gateway-1'));
  const { socket, root, server } = await connectVerified({ host, port, trust: trust() });
  t.equal(root.pem, fleet.root.certificate.pem);
  t.match(server, { site: 'site-a', name: 'gateway-1' });
  socket.destroy();
  t.equal((await fetchRoot({ host, port, trust: trust() })).sha256, fleet.root.certificate.sha256);
});

t.test('refuses every other server, and writes nothing to it', async (t) => {
  const ours = await fleet.gatewayServer('gateway-1');
  const cases: [string, Pick<Credentials, 'tls'>, ServerTrust][] = [
    ['of another fleet', await stranger.gatewayServer('gateway-1'), trust()],
    ['without its root', { tls: { ...ours.tls, cert: pemChain(ours.certificate) } }, trust()],
    ['of another site', ours, trust({ site: 'site-b' })],
    ['in the control plane’s place', ours, trust({ role: 'control-plane' })],
    ['that is a device', await fleet.device('device-1'), trust()],
    [
      'that was revoked',
      ours,
      trust({ isRevoked: (_, serial) => serial === ours.certificate.serial }),
    ],
    ['that has expired', ours, trust({ at: fleet.now + 400 * 86_400_000 })],
  ];
  for (const [name, credentials, expected] of cases) {
    const { host, port, received } = await serve(t, credentials);
    await t.rejects(
      connectVerified({ host, port, trust: expected }),
      { code: 'PEER_REFUSED' },
      name,
    );
    const agent = verifiedAgent(expected);
    const post = axios.post(`https://${host}:${port}/`, 'secret', {
      httpsAgent: agent,
      proxy: false,
    });
    await t.rejects(post, { message: /refused|another root/ }, `${name}, over HTTPS`);
    t.same(received, [], `${name}: nothing was written`);
  }
});

t.test('a fingerprint alone does not make a stranger’s chain ours', async (t) => {
  // A man in the middle who has the root, as everybody may, but no key of it.
  const mallory = await stranger.gatewayServer('gateway-1');
  const cert = pemChain(mallory.certificate, stranger.siteCa.certificate, fleet.root.certificate);
  const { host, port } = await serve(t, { tls: { ...mallory.tls, cert } });
  await t.rejects(connectVerified({ host, port, trust: trust() }), { code: 'PEER_REFUSED' });
});

t.test('an agent carries requests once the server is verified', async (t) => {
  const { tls } = await fleet.gatewayServer('gateway-1');
  const server = createHttps(tls, (request, response) => {
    request.on('data', () => undefined);
    request.on('end', () => response.end('hello'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const httpsAgent = verifiedAgent(trust());
  const url = `https://127.0.0.1:${port}/api`;
  t.equal((await axios.post(url, 'x', { httpsAgent, proxy: false })).data, 'hello');
  const [response] = await once(request(url, { agent: httpsAgent }).end(), 'response');
  t.equal(response.statusCode, 200);
  response.destroy();
});

t.test('says that a server cannot be reached, or does not answer in time', async (t) => {
  const host = '127.0.0.1';
  const port = await freePort();
  await t.rejects(connectVerified({ host, port, trust: trust() }), { code: 'CONNECTION_FAILED' });

  const silent = createTcp((socket) => socket.on('error', () => undefined)).listen(0, host);
  await once(silent, 'listening');
  t.teardown(() => silent.close());
  const at = silent.address() as AddressInfo;
  const waiting = connectVerified({ host, port: at.port, trust: trust(), timeoutMs: 50 });
  await t.rejects(waiting, { code: 'DEADLINE_EXCEEDED' });
});

t.test('a server says by the same verifier who its client is', async (t) => {
  const { tls } = await fleet.gatewayServer('gateway-1');
  const device = await fleet.device('device-1');
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const expected = { root: fleet.root.certificate, role: 'device', at: fleet.now } as const;
  // A device may send its own certificate alone: the gateway knows its site CA.
  const alone = { cert: device.certificate.pem, key: device.tls.key };
  for (const [client, verdict] of [
    [device.tls, 'device-1'],
    [alone, 'device-1'],
    [undefined, 'PEER_REFUSED'],
    [(await stranger.device('device-1')).tls, 'PEER_REFUSED'],
  ] as const) {
    const connected = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const { socket } = await connectVerified({
      host: '127.0.0.1',
      port,
      trust: trust(),
      ...(client && { client }),
    });
    const [peer] = await connected;
    const identify = () =>
      verifyPeer(peer, { ...expected, intermediates: [fleet.siteCa.certificate] }).name;
    if (verdict === 'PEER_REFUSED') t.throws(identify, { code: verdict });
    else t.equal(identify(), verdict);
    peer.destroy();
    socket.destroy();
  }
});
