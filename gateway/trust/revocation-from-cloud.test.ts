/** What is revoked, disabled and deleted in the cloud takes effect on site: both programs, over the link. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LifecycleAction, LifecycleState } from '@holdfast/protos/gen/holdfast/v1/devices';
import { openCloudClient } from '@holdfast/provisioning/cli/cloud-client';
import { parseAddress } from '@holdfast/provisioning/pki/claim-code';
import { fetchRoot } from '@holdfast/provisioning/pki/first-contact';
import { parseLoginCode } from '@holdfast/provisioning/pki/login-code';
import { startChild } from '@holdfast/provisioning/program/children';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { systemClock } from '@holdfast/provisioning/time/clock';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import t from 'tap';
import { enrollGateway } from './enroll-gateway.js';
import { greet, runSite } from './site-under-test.js';

t.setTimeout(120_000);
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const bin = fileURLToPath(new URL('../../../cloud-sync/bin/holdfast-cloud.js', import.meta.url));
const name = (device: string) => `sites/a/devices/${device}`;

t.test('a decision of the cloud reaches whoever is connected on site', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-cloud-'));
  const loginFile = join(folder, 'login');
  const cloud = await startChild({
    bin,
    args: ['--data', join(folder, 'cloud'), '--login-file', loginFile],
    env: {
      HOLDFAST_LISTEN__HOST: '127.0.0.1',
      HOLDFAST_LISTEN__GRPC_PORT: '0',
      HOLDFAST_LISTEN__LINK_PORT: '0',
      HOLDFAST_LISTEN__HTTPS_PORT: '0',
    },
  });
  const { address, token, rootSha256 } = parseLoginCode(await readFile(loginFile, 'utf8'));
  const trust = { role: 'control-plane', root: rootSha256, at: Date.now() } as const;
  const ca = (await fetchRoot({ ...parseAddress(address), trust })).pem;
  const api = openCloudClient({ address, token, root_pem: ca });
  const { sites, devices } = api;
  await api.call(sites, sites.createSite, { siteId: 'a', site: undefined });
  const { code } = await api.call(sites, sites.createGatewayCode, {
    ...{ name: 'sites/a', replace: false, lifetimeSeconds: 0 },
  });
  const dataDirectory = join(folder, 'gateway');
  const { operatorToken } = await enrollGateway(
    { clock: systemClock(), log: silent },
    {
      ...{ code, dataDirectory, token: undefined, version: '0.0.0' },
      signal: AbortSignal.timeout(20_000),
    },
  );
  const site = await runSite({ folder: dataDirectory, ca, token: operatorToken });
  t.teardown(async () => {
    api.close();
    await site.close();
    await cloud.kill();
    await rm(folder, { recursive: true });
  });
  const certificatesOf = async (device: string) => {
    const request = { parent: name(device), pageSize: 10, pageToken: '' };
    const listed = api.call(devices, devices.listDeviceCertificates, request);
    return (await listed.catch(() => ({ certificates: [] }))).certificates;
  };
  const connected = async (device: string) => {
    const credentials = await site.enrol(device);
    const connection = await site.handshake('mqtts', credentials);
    t.match(await greet(connection, device), [{ cmd: 'connack', returnCode: 0 }]);
    await waitUntil('the cloud learns of it by the journal', async () =>
      (await certificatesOf(device)).some(({ serial }) => serial === credentials.serial),
    );
    return { credentials, cut: withDeadline(connection.closed, 20_000, { doing: 'cutting' }) };
  };
  const get = (device: string) => api.call(devices, devices.getDevice, { name: name(device) });

  const pump = await connected('pump');
  const revoked = await api.call(devices, devices.revokeDeviceCertificates, {
    ...{ name: name('pump'), serial: '', reason: 'key_compromise' },
  });
  t.same(revoked.serials, [pump.credentials.serial]);
  await pump.cut;
  t.same(await greet(await site.handshake('mqtts', pump.credentials), 'pump'), []);
  const root = await site.askAsDevice('/crl/root.crl');
  t.equal(root.status, 200, 'the list of the root came with the plan');

  const lamp = await connected('lamp');
  const request = { name: name('lamp'), reason: 'sold' };
  const action = LifecycleAction.LIFECYCLE_ACTION_DISABLE;
  await api.call(devices, devices.changeDeviceLifecycle, { ...request, action });
  await lamp.cut;
  await waitUntil(
    'the cloud learns that it is done',
    async () => (await get('lamp')).lifecycleState === LifecycleState.LIFECYCLE_STATE_DISABLED,
  );
  t.equal((await get('lamp')).pendingAction, LifecycleAction.LIFECYCLE_ACTION_UNSPECIFIED);

  const saw = await connected('saw');
  await api.call(devices, devices.deleteDevice, { name: name('saw'), etag: '' });
  await saw.cut;
  const status = async () => (await site.ask('GET', '/api/v1/devices/saw')).status;
  await waitUntil('the site forgets it', async () => (await status()) === 404);
  t.same(await greet(await site.handshake('mqtts', saw.credentials), 'saw'), []);
  const again = await connected('saw');
  await site.restart('kill');
  t.match(
    await greet(await site.handshake('mqtts', again.credentials), 'saw'),
    [{ cmd: 'connack', returnCode: 0 }],
    'a new one of its id is not taken for the one that was deleted',
  );
  const { revocations } = (await site.ask('GET', '/api/v1/status')).body;
  t.match(revocations, { stale: false, as_of: Number, revoked: 2 });
});
