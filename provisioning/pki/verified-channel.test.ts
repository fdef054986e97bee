import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:tls';
import {
  Client,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { type Credentials, createTestFleet, type TestFleet } from './test-fleet.js';
import { presentedChain, verifyPresented } from './tls-peer.js';
import { VerifiedChannel, type VerifiedChannelOptions } from './verified-channel.js';

const fleet = await createTestFleet();
const gateway = await fleet.gateway('gateway-1');
const path = '/holdfast.v1.Sites/Echo';
const echo = (value: Buffer) => value;

/** A gRPC server with these credentials, which answers with the name that the client's certificate has. */
const serve = async (t: Test, { root }: TestFleet, own: Credentials): Promise<number> => {
  const server = new Server();
  const method = { path, requestStream: false, responseStream: false };
  const serialize = { requestSerialize: echo, requestDeserialize: echo };
  const definition = {
    Echo: { ...method, ...serialize, responseSerialize: echo, responseDeserialize: echo },
  };
  server.addService(definition, {
    Echo: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
      const presented = call.getAuthContext().sslPeerCertificate;
      const chain = presented ? presentedChain(presented) : [];
      const expected = { root: root.certificate, role: 'gateway', at: 'unchecked' } as const;
      callback(null, Buffer.from(verifyPresented(chain, expected).name));
    },
  });
  const pair = { private_key: Buffer.from(own.tls.key), cert_chain: Buffer.from(own.tls.cert) };
  // A server knows the time; here it is to take whatever the client shows.
  const secure = ServerCredentials.createSsl(Buffer.from(root.certificate.pem), [pair], true);
  t.teardown(() => server.forceShutdown());
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', secure, (error, port) =>
      error ? reject(error) : resolve(port),
    );
  });
};

const call = async (
  t: Test,
  port: number,
  options: Partial<VerifiedChannelOptions> & Pick<VerifiedChannelOptions, 'trust'>,
): Promise<string> => {
  const channel = new VerifiedChannel({ host: '127.0.0.1', client: gateway.tls, ...options });
  const client = new Client(`127.0.0.1:${port}`, channel);
  t.teardown(() => client.close());
  const deadline = Date.now() + 5_000;
  return new Promise((resolve, reject) => {
    const request = Buffer.from('x');
    client.makeUnaryRequest(
      path,
      echo,
      echo,
      request,
      new Metadata(),
      { deadline },
      (error, value) => (error ? reject(error) : resolve(String(value))),
    );
  });
};

const trust = { role: 'control-plane', root: fleet.root.certificate, at: fleet.now } as const;

t.test('trusts the control plane alone, and shows it who we are', async (t) => {
  t.equal(await call(t, await serve(t, fleet, await fleet.controlPlane()), { trust }), 'gateway-1');
  const other = await serve(t, fleet, await fleet.gatewayServer('gateway-1'));
  // Its name and its chain are good, and it is still only a gateway.
  await t.rejects(call(t, other, { trust }), { message: /not certified by this kind/ });
});

t.test('goes by the time that it is given, whatever the machine says', async (t) => {
  // By the clock of this machine the server's certificate has expired long ago, and OpenSSL would say no more than that.
  const then = Date.UTC(2001, 0, 1);
  const old = await createTestFleet({ now: then });
  const port = await serve(t, old, await old.controlPlane());
  const client = (await old.gateway('gateway-1')).tls;
  const at = (at: number | 'unchecked') => ({ ...trust, root: old.root.certificate, at });
  const refusals: unknown[] = [];
  const onRefused = (error: unknown) => refusals.push(error);
  for (const right of [then, 'unchecked'] as const) {
    // The server is a usual one, and refuses a client certificate that expired in 2001: by then ours was taken.
    await t.rejects(call(t, port, { client, trust: at(right), onRefused }));
    t.same(refusals, [], 'the server is trusted');
  }
  await t.rejects(call(t, port, { client, trust: at(Date.now()), onRefused }), /has expired/);
  t.match(refusals[0], { code: 'PEER_REFUSED', data: { reason: 'expired' } });
});

t.test('writes nothing to a stranger who intercepts TLS', async (t) => {
  const { tls } = await (await createTestFleet()).controlPlane();
  let isWrittenTo = false;
  const portal = createServer({ ...tls, ALPNProtocols: ['h2'], requestCert: false }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => {
      isWrittenTo = true;
    });
  });
  portal.listen(0, '127.0.0.1');
  await once(portal, 'listening');
  t.teardown(() => portal.close());
  const { port } = portal.address() as AddressInfo;
  const refusals: unknown[] = [];
  const onRefused = (error: unknown) => refusals.push(error);
  for (const at of [fleet.now, 'unchecked'] as const) {
    await t.rejects(call(t, port, { trust: { ...trust, at }, onRefused }));
  }
  t.match(refusals[0], { code: 'PEER_REFUSED', data: { reason: 'chain' } });
  t.notOk(isWrittenTo);
});
