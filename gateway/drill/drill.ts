/** What a drill begins with: a fleet, a site with its gateway, and a control plane in a process of its own behind a WAN that can be cut. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '@holdfast/devices/agent/log';
import { type CloudClient, openCloudClient } from '@holdfast/provisioning/cli/cloud-client';
import { formatAddress, parseAddress } from '@holdfast/provisioning/pki/claim-code';
import { fetchRoot } from '@holdfast/provisioning/pki/first-contact';
import { parseLoginCode } from '@holdfast/provisioning/pki/login-code';
import { type Child, type ChildOptions, startChild } from '@holdfast/provisioning/program/children';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import { type Database, openDatabase } from '@holdfast/provisioning/storage/database';
import { systemClock } from '@holdfast/provisioning/time/clock';
import { TestWan } from '../link/test-wan.js';
import { enrollGateway } from '../trust/enroll-gateway.js';
import { openGatewayRecord } from '../trust/gateway-identity.js';
import { DrillDevice } from './drill-device.js';
import { DrillSite, type DrillSiteSettings } from './drill-site.js';
import { VirtualTime } from './virtual-time.js';

export interface DrillOptions {
  /** How the control plane is started: its bin, and the environment in which it lives `shiftMs` later than this machine. */
  readonly cloud: (
    folder: string,
    shiftMs: number,
  ) => Promise<Pick<ChildOptions, 'bin'> & { readonly env: Readonly<Record<string, string>> }>;
  readonly site?: DrillSiteSettings;
}

export interface Drill {
  readonly time: VirtualTime;
  readonly wan: TestWan;
  readonly site: DrillSite;
  readonly devices: DrillDevice[];
  /** Of the gateway. */
  readonly dataDir: string;
  /** Enrols a device by a code made on site; it lives on from then. */
  enrol(id: string): Promise<DrillDevice>;
  /** Every device but these is connected, and has nothing to do before time passes. */
  settled(but?: readonly DrillDevice[]): Promise<void>;
  /** The control plane's API, as long as it runs. */
  openApi(): CloudClient;
  stopCloud(): Promise<void>;
  /** At the time of the world. */
  startCloud(): Promise<void>;
  inCloud<T>(sql: string): Promise<T[]>;
}

/** As much of tap's `t` as is needed. */
interface Test {
  teardown(end: () => unknown): unknown;
}

export const openDrill = async (t: Test, options: DrillOptions): Promise<Drill> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-drill-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const time = new VirtualTime();
  const { world } = time;

  const loginFile = join(folder, 'login');
  const launch = async (...more: string[]): Promise<Child> =>
    startChild({
      ...(await options.cloud(folder, world.now() - Date.now())),
      args: [
        ...['--data', join(folder, 'cloud'), '--listen.host', '127.0.0.1'],
        ...['--listen.grpc-port=0', '--listen.link-port=0', ...more],
      ],
      timeoutMs: 60_000,
    });
  let cloud = await launch('--listen.https-port=0', '--login-file', loginFile);
  t.teardown(() => cloud.kill());
  const httpsPort = cloud.ports.https ?? 0;
  const login = parseLoginCode(await readFile(loginFile, 'utf8'));
  const trust = { role: 'control-plane', root: login.rootSha256, at: Date.now() } as const;
  const root = await fetchRoot({ ...parseAddress(login.address), trust });
  const wan = await TestWan.open(cloud.ports.link ?? 0);
  t.teardown(() => wan.close());

  const openApi = (): CloudClient => {
    const address = formatAddress({ host: '127.0.0.1', port: cloud.ports.grpc ?? 0 });
    return openCloudClient({ address, root_pem: root.pem, token: login.token });
  };
  const api = openApi();
  await api.call(api.sites, api.sites.createSite, { siteId: 'a', site: undefined });
  const { code } = await api.call(api.sites, api.sites.createGatewayCode, {
    ...{ name: 'sites/a', replace: false, lifetimeSeconds: 0 },
  });
  api.close();
  const dataDir = join(folder, 'gateway');
  const { operatorToken } = await enrollGateway(
    { clock: systemClock(), log: silentLog },
    {
      ...{ code, dataDirectory: dataDir, token: undefined, version: '0.0.0' },
      signal: AbortSignal.timeout(30_000),
    },
  );
  const record = await openGatewayRecord(dataDir, silentLog);
  await record.update((enrolled) => enrolled && { ...enrolled, link_address: wan.address });
  const site = new DrillSite(time, { dataDir, operatorToken, rootPem: root.pem }, options.site);
  await site.switchOn({ isLost: false });
  t.teardown(() => site.switchOff());

  const devices: DrillDevice[] = [];
  t.teardown(async () => {
    for (const device of devices) await device.close();
  });
  return {
    ...{ time, wan, site, devices, dataDir, openApi },
    async enrol(id) {
      const made = await site.ask<{ code: string }>('POST', 'claims', { device_id: id });
      const where = { dataDir: join(folder, id), id, code: made.code };
      const device = await DrillDevice.open(world, where);
      devices.push(device);
      return device;
    },
    settled: (but = []) =>
      waitUntil(
        'every device is connected and has nothing to renew',
        () =>
          devices.every((device) => but.includes(device) || device.isConnected) &&
          world.waiting >= devices.length,
        { deadlineMs: 60_000, everyMs: 5 },
      ),
    stopCloud: async () => void (await cloud.stop()),
    async startCloud() {
      cloud = await launch(`--listen.https-port=${httpsPort}`);
      wan.leadTo(cloud.ports.link ?? 0);
    },
    async inCloud(sql) {
      const path = join(folder, 'cloud/cloud.db');
      const database: Database = await openDatabase({ path, readOnly: true });
      try {
        return await database.all(sql);
      } finally {
        await database.close();
      }
    },
  };
};
