/** Control plane, WAN and gateway, each as it is shipped, over one folder; for tests and benches of what crosses the link. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CloudClient, openCloudClient } from '@holdfast/provisioning/cli/cloud-client';
import { parseAddress } from '@holdfast/provisioning/pki/claim-code';
import { fetchRoot } from '@holdfast/provisioning/pki/first-contact';
import { parseLoginCode } from '@holdfast/provisioning/pki/login-code';
import { type Child, startChild } from '@holdfast/provisioning/program/children';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { WanProxy } from '@holdfast/provisioning/quickstart/wan-proxy';
import { systemClock } from '@holdfast/provisioning/time/clock';
import { enrollGateway } from '../trust/enroll-gateway.js';
import { type RunningSite, runSite } from '../trust/site-under-test.js';

export interface SiteWithCloud {
  readonly site: RunningSite;
  /** The line that the link goes over. */
  readonly wan: WanProxy;
  /** The control plane's API: another after `restartCloud`. */
  readonly api: CloudClient;
  restartCloud(how: 'stop' | 'kill'): Promise<void>;
  /** Stops the control plane, lets somebody at its folder, and starts it again. */
  whileCloudIsStopped(work: (folder: string) => Promise<void>): Promise<void>;
  /** Resolves when the gateway has a connection and both lanes are empty. */
  inStep(deadlineMs?: number): Promise<void>;
  close(): Promise<void>;
}

/** Of the one site there is. */
export const siteId = 'a';

const bin = fileURLToPath(new URL('../../../cloud-sync/bin/holdfast-cloud.js', import.meta.url));
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

export const openSiteWithCloud = async (
  settings: Readonly<Record<string, string>> = {},
): Promise<SiteWithCloud> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-shadows-'));
  const loginFile = join(folder, 'login');
  let linkPort = 0;
  const wan = await WanProxy.open({
    target: () => ({ host: '127.0.0.1', port: linkPort }),
    port: 0,
  });
  const startCloud = async (): Promise<Child> => {
    const child = await startChild({
      bin,
      args: ['--data', join(folder, 'cloud'), '--login-file', loginFile, '--log-level', 'error'],
      env: {
        HOLDFAST_LISTEN__HOST: '127.0.0.1',
        HOLDFAST_LISTEN__GRPC_PORT: '0',
        HOLDFAST_LISTEN__LINK_PORT: '0',
        HOLDFAST_LISTEN__HTTPS_PORT: '0',
        HOLDFAST_ADVERTISE__LINK_PORT: `${wan.port}`,
      },
    });
    linkPort = child.ports.link ?? 0;
    return child;
  };
  let cloud = await startCloud();
  const { address, token, rootSha256 } = parseLoginCode(await readFile(loginFile, 'utf8'));
  const trust = { role: 'control-plane', root: rootSha256, at: Date.now() } as const;
  const ca = (await fetchRoot({ ...parseAddress(address), trust })).pem;
  let api = openCloudClient({ address, token, root_pem: ca });
  await api.call(api.sites, api.sites.createSite, { siteId, site: undefined });
  const { code } = await api.call(api.sites, api.sites.createGatewayCode, {
    ...{ name: `sites/${siteId}`, replace: false, lifetimeSeconds: 0 },
  });
  const dataDirectory = join(folder, 'gateway');
  const { operatorToken } = await enrollGateway(
    { clock: systemClock(), log: silent },
    {
      ...{ code, dataDirectory, token: undefined, version: '0.0.0' },
      signal: AbortSignal.timeout(20_000),
    },
  );
  const site = await runSite(
    { folder: dataDirectory, ca, token: operatorToken },
    {
      HOLDFAST_LINK__FIRST_RETRY_MS: '50',
      HOLDFAST_LINK__MOST_RETRY_MS: '200',
      ...settings,
    },
  );
  const isInStep = async (): Promise<boolean> => {
    const { body } = await site.ask('GET', '/api/v1/status');
    const { state, backlog } = body.link as {
      state: string;
      backlog: Readonly<Record<string, number>>;
    };
    return state === 'up' && backlog.state === 0 && backlog.audit === 0;
  };
  const restart = async (): Promise<void> => {
    cloud = await startCloud();
    api = openCloudClient({ address: `127.0.0.1:${cloud.ports.grpc}`, token, root_pem: ca });
  };
  return {
    site,
    wan,
    get api() {
      return api;
    },
    async restartCloud(how) {
      api.close();
      await (how === 'kill' ? cloud.kill() : cloud.stop());
      await restart();
    },
    async whileCloudIsStopped(work) {
      api.close();
      await cloud.stop();
      await work(join(folder, 'cloud'));
      await restart();
    },
    inStep: (deadlineMs = 60_000) =>
      waitUntil('the gateway has told everything', isInStep, { deadlineMs }),
    async close() {
      api.close();
      await site.close();
      await cloud.kill();
      await wan.close();
      await rm(folder, { recursive: true });
    },
  };
};
