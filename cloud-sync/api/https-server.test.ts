import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { issueGateway } from '@holdfast/provisioning/pki/issue';
import { createKey, privatePem } from '@holdfast/provisioning/pki/keys';
import t from 'tap';
import { openFleetAuthority } from '../certificates/fleet-authority.js';
import { issueGatewayCertificates } from '../certificates/gateway-certificates.js';
import { insertSite } from '../sites/site-records.js';
import { openEmbeddedEngine } from '../store/embedded-engine.js';
import { openHttpsServer } from './https-server.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };

const get = (
  options: { port: number; path: string; method?: string },
  tls: { ca: string; cert?: string; key?: string },
): Promise<{ status: number; body: string }> =>
  new Promise((resolve, reject) => {
    const agent = new Agent({ ...tls, keepAlive: false });
    const asked = request({ host: '127.0.0.1', agent, ...options }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asked.on('error', reject);
    asked.end();
  });

t.test('serves gateways of the fleet that own their site, and nobody else', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-https-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const now = () => Date.now();
  const authority = await openFleetAuthority({ folder, fleet: 'f', hosts: ['127.0.0.1'], now });
  const engine = await openEmbeddedEngine({ path: join(folder, 'cloud.db'), log });
  t.teardown(() => engine.close());
  const { root } = authority;
  const server = await openHttpsServer(
    { engine, root: root.certificate, now, log },
    {
      host: '127.0.0.1',
      port: 0,
      certificate: authority.server,
      routes: [
        {
          method: 'GET',
          path: /^\/hello\/([a-z]+)$/,
          serve: async ({ gateway, groups }, response) => {
            response.end(`${groups[0]} ${gateway.site}`);
          },
        },
      ],
    },
  );
  t.teardown(() => server.close());
  const [key, ca] = [await createKey(), await createKey()];
  const grant = { site: 'a', gateway: 'g', epoch: 1 };
  const setEpoch = (epoch: number) =>
    engine.write(async ({ db }) => {
      await db.updateTable('sites').set({ epoch, gateway_id: 'g' }).execute();
    });
  const { gateway } = await engine.write(async (tx) => {
    await insertSite(tx, { site: 'a', displayName: 'a', now: 1 });
    return issueGatewayCertificates(tx, { root, now: now() }, grant, {
      gateway: { publicKey: key.publicKey },
      siteCa: { publicKey: ca.publicKey },
    });
  });
  await setEpoch(1);
  const trust = { ca: root.certificate.pem };
  const own = { ...trust, cert: gateway.pem, key: privatePem(key) };
  const ask = (path: string, tls: Parameters<typeof get>[1], method = 'GET') =>
    get({ port: server.port, path, method }, tls);

  t.same(await ask('/hello/you?x=1', own), { status: 200, body: 'you a' });
  t.match(await ask('/nothing', own), { status: 404 });
  t.match(await ask('/hello/you', own, 'POST'), { status: 404 });
  t.match(await ask('/hello/you', trust), { body: /PEER_REFUSED/ }, 'no certificate');
  const unrecorded = await issueGateway(root, key.publicKey, {
    site: 'a',
    gateway: 'g',
    now: now(),
  });
  t.match(await ask('/hello/you', { ...own, cert: unrecorded.pem }), { body: /NOT_AUTHORISED/ });
  const planSigner = parseCertificate(authority.planSigner.certificate.der);
  t.match(
    await ask('/hello/you', {
      ...trust,
      cert: planSigner.pem,
      key: privatePem(authority.planSigner.key),
    }),
    { body: /PEER_REFUSED/ },
    'another role',
  );
  await setEpoch(2);
  t.match(await ask('/hello/you', own), { status: 409, body: /GATEWAY_FENCED/ });
});
