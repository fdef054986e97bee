import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { openTestProxy } from '@holdfast/provisioning/transfer/test-proxy';
import axios from 'axios';
import t from 'tap';
import { checkProxy } from '../doctor/proxy.js';
import { TestCloud } from './test-cloud.js';
import { openTestGateway } from './test-gateway.js';

t.test('the link goes through a proxy with a password, certificates on both sides', async (t) => {
  const fleet = await createTestFleet();
  const cloud = await TestCloud.open(fleet);
  const proxy = await openTestProxy({ credentials: 'anna:secret' });
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-proxy-'));
  const { tls } = await fleet.gateway('gw-1');
  const { host, port } = proxy;
  const gateway = await openTestGateway({
    dir,
    address: `127.0.0.1:${cloud.port}`,
    fleet: fleet.fleet,
    site: fleet.site,
    root: fleet.root.certificate,
    tls,
    via: { host, port, credentials: 'anna:secret' },
  });
  t.teardown(async () => {
    await gateway.close();
    await proxy.close();
    await cloud.close();
    await rm(dir, { recursive: true });
  });
  gateway.link.open();
  await cloud.until(() => cloud.hellos.length > 0);
  t.same(proxy.asked, [{ target: `127.0.0.1:${cloud.port}`, status: 200 }]);
});

t.test('a download goes through it, too', async (t) => {
  const fleet = await createTestFleet();
  const { tls } = await fleet.controlPlane();
  const server = createServer(tls, (_, response) => response.end('image'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy = await openTestProxy();
  t.teardown(async () => {
    server.close();
    await proxy.close();
  });
  const trust = {
    role: 'control-plane',
    root: fleet.root.certificate,
    at: 'unchecked',
  } as const;
  const httpsAgent = verifiedAgent(trust, { via: proxy, keepAlive: false });
  const { data } = await axios.get(`https://127.0.0.1:${port}/`, { httpsAgent, proxy: false });
  t.equal(data, 'image');
  t.match(proxy.asked, [{ target: `127.0.0.1:${port}`, status: 200 }]);
});

t.test('doctor tells a proxy that lets the link through from one that does not', async (t) => {
  const proxy = await openTestProxy({ allowedPorts: [443] });
  t.teardown(() => proxy.close());
  const services = [{ name: 'link', host: '127.0.0.1', port: 7443 }];
  t.match(await checkProxy({}, { proxy, services, environmentProxy: undefined }), [
    { severity: 'failure', text: /does not allow CONNECT/, next: /443/ },
  ]);
  const alone = { services: [], environmentProxy: undefined };
  t.match(await checkProxy({}, { proxy, ...alone }), [{ severity: 'ok', text: /answers/ }]);
  t.match(await checkProxy({}, { proxy: { host: '127.0.0.1', port: 1 }, ...alone }), [
    { severity: 'failure', text: /refused/ },
  ]);
  const direct = await checkProxy(
    {
      openTcp: async () => {
        throw new Error('no');
      },
    },
    { proxy: undefined, services, environmentProxy: 'http://proxy.example:3128' },
  );
  t.match(direct, [
    { severity: 'warning', text: /link\.proxy alone/ },
    { severity: 'skipped', text: /port 443/ },
  ]);
});
