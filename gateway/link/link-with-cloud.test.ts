/** The gateway's end of the link against the control plane's, each as it is shipped: two processes that share nothing but `protos`. */
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Command, CommandState } from '@holdfast/protos/gen/holdfast/v1/commands';
import type { Device, TelemetryPoint } from '@holdfast/protos/gen/holdfast/v1/devices';
import type { Gateway } from '@holdfast/protos/gen/holdfast/v1/sites';
import { type CloudClient, openCloudClient } from '@holdfast/provisioning/cli/cloud-client';
import { formatAddress, parseAddress } from '@holdfast/provisioning/pki/claim-code';
import { fetchRoot } from '@holdfast/provisioning/pki/first-contact';
import { privatePem } from '@holdfast/provisioning/pki/keys';
import { parseLoginCode } from '@holdfast/provisioning/pki/login-code';
import { type Child, startChild } from '@holdfast/provisioning/program/children';
import { openDatabase } from '@holdfast/provisioning/storage/database';
import { systemClock } from '@holdfast/provisioning/time/clock';
import t from 'tap';
import { journalEntry } from '../store/journal.js';
import { enrollGateway } from '../trust/enroll-gateway.js';
import { loadGatewayIdentity } from '../trust/gateway-identity.js';
import { openTestGateway, type TestGateway, type TestGatewayOptions } from './test-gateway.js';
import { TestWan } from './test-wan.js';

const bin = fileURLToPath(new URL('../../../cloud-sync/bin/holdfast-cloud.js', import.meta.url));
const site = 'sites/a';
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
/** How long anything that the two ends owe each other may take. */
const patienceMs = 30_000;
t.setTimeout(300_000);

/** A control plane behind a line that can be cut, a site, and the gateway that enrolled for it. */
class Fleet {
  readonly #dir: string;
  readonly #args: readonly string[];
  readonly #login: ReturnType<typeof parseLoginCode>;
  readonly #rootPem: string;
  readonly wan: TestWan;
  cloud: Child;
  api: CloudClient;

  private constructor(
    given: { dir: string; args: readonly string[]; rootPem: string; wan: TestWan; cloud: Child },
    login: ReturnType<typeof parseLoginCode>,
  ) {
    this.#dir = given.dir;
    this.#args = given.args;
    this.#rootPem = given.rootPem;
    this.#login = login;
    this.wan = given.wan;
    this.cloud = given.cloud;
    this.api = this.#openApi();
  }

  static async open(dir: string, ...more: string[]): Promise<Fleet> {
    const loginFile = join(dir, 'login');
    const args = ['--data', join(dir, 'cloud'), '--listen.host', '127.0.0.1', ...more];
    const cloud = await startChild({
      bin,
      args: [...args, ...freePorts, '--login-file', loginFile],
    });
    const login = parseLoginCode(await readFile(loginFile, 'utf8'));
    const trust = { role: 'control-plane', root: login.rootSha256, at: Date.now() } as const;
    const root = await fetchRoot({ ...parseAddress(login.address), trust });
    const wan = await TestWan.open(cloud.ports.link ?? 0);
    const fleet = new Fleet({ dir, args, rootPem: root.pem, wan, cloud }, login);
    const { api } = fleet;
    await api.call(api.sites, api.sites.createSite, { siteId: 'a', site: undefined });
    return fleet;
  }

  get database(): string {
    return join(this.#dir, 'cloud', 'cloud.db');
  }

  /** Whether the control plane has heard that the site has all of its orders. */
  async hasNoOrders(): Promise<boolean> {
    const database = await openDatabase({ path: this.database, readOnly: true });
    const orders = await database.all('SELECT seq FROM orders');
    await database.close();
    return orders.length === 0;
  }

  /** Enrols a gateway with a new code; `replace` puts it in the place of the one there is. */
  async enrol(name: string, { replace = false } = {}): Promise<TestGatewayOptions> {
    const { api } = this;
    const dataDirectory = join(this.#dir, name);
    const { code } = await api.call(api.sites, api.sites.createGatewayCode, {
      name: site,
      replace,
      lifetimeSeconds: 0,
    });
    await enrollGateway(
      { clock: systemClock(), log: silent },
      {
        ...{ code, dataDirectory, token: undefined, version: '0.0.0' },
        signal: AbortSignal.timeout(patienceMs),
      },
    );
    const { record, root, link } = await loadGatewayIdentity(
      { dataDirectory, token: undefined },
      silent,
    );
    return {
      dir: dataDirectory,
      address: this.wan.address,
      fleet: record.fleet,
      site: record.site,
      epoch: record.epoch,
      root,
      tls: { cert: link.certificate.pem, key: privatePem(link.key) },
    };
  }

  /** The power of the control plane goes, and comes back. */
  async killCloud(): Promise<void> {
    await this.cloud.kill();
    await this.#startCloud();
  }

  /** Stops the control plane, lets somebody at its folder, and starts it again. */
  async whileStopped(work: (folder: string) => Promise<void>): Promise<void> {
    await this.cloud.stop();
    await work(join(this.#dir, 'cloud'));
    await this.#startCloud();
  }

  async #startCloud(): Promise<void> {
    this.api.close();
    this.cloud = await startChild({ bin, args: [...this.#args, ...freePorts] });
    this.wan.leadTo(this.cloud.ports.link ?? 0);
    this.api = this.#openApi();
  }

  async gateway(): Promise<Gateway> {
    const { api } = this;
    const found = await api.call(api.sites, api.sites.getSite, { name: site });
    if (!found.gateway) throw new Error('the site has no gateway');
    return found.gateway;
  }

  async command(commandId: string): Promise<Command> {
    const { api } = this;
    const command: Command = {
      name: '',
      type: 'blink',
      payload: { times: 3 },
      state: CommandState.COMMAND_STATE_UNSPECIFIED,
      response: undefined,
      error: '',
      createTime: undefined,
      expireTime: undefined,
      responseTime: undefined,
    };
    const parent = `${site}/devices/d`;
    return api.call(api.commands, api.commands.createCommand, { parent, commandId, command });
  }

  async devices(): Promise<Device[]> {
    const { api } = this;
    const { devices } = await api.call(api.devices, api.devices.listDevices, {
      parent: site,
      pageSize: 1000,
      pageToken: '',
    });
    return devices;
  }

  /** Every point of a device, in the order of the site's commits. */
  async points(device: string): Promise<TelemetryPoint[]> {
    const { api } = this;
    const all: TelemetryPoint[] = [];
    let pageToken = '';
    do {
      const parent = `${site}/devices/${device}`;
      const page = await api.call(api.devices, api.devices.listTelemetry, {
        parent,
        pageSize: 1000,
        pageToken,
        orderBy: '',
      });
      all.push(...page.points);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return all;
  }

  async close(): Promise<void> {
    this.api.close();
    await this.cloud.kill();
    await this.wan.close();
  }

  #openApi(): CloudClient {
    const address = formatAddress({ host: '127.0.0.1', port: this.cloud.ports.grpc ?? 0 });
    return openCloudClient({ address, root_pem: this.#rootPem, token: this.#login.token });
  }
}

const freePorts = ['--listen.grpc-port=0', '--listen.link-port=0', '--listen.https-port=0'];

const openFleet = async (t: { teardown(end: () => unknown): unknown }, ...more: string[]) => {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-both-ends-'));
  const fleet = await Fleet.open(dir, ...more);
  const opened: TestGateway[] = [];
  t.teardown(async () => {
    for (const gateway of opened) await gateway.close();
    await fleet.close();
    await rm(dir, { recursive: true });
  });
  const open = async (options: TestGatewayOptions): Promise<TestGateway> => {
    const gateway = await openTestGateway({ welcomeTimeoutMs: 2_000, ...options });
    opened.push(gateway);
    gateway.link.open();
    return gateway;
  };
  return { fleet, open };
};

const until = async (what: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
  const end = performance.now() + patienceMs;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`in vain: ${what}`);
    await pause(20);
  }
};

const enrolled = (gateway: TestGateway, device: string): Promise<void> =>
  gateway.store.commits.commit([
    gateway.entry('device_enrolled', {
      device,
      model: 'm',
      serial_no: `serial of ${device}`,
      door: 'native',
      certificate_serial: null,
      claim_hash: null,
    }),
  ]);

const seen = (gateway: TestGateway, device: string, lastSeen: number): Promise<void> =>
  gateway.store.commits.commit([
    journalEntry(
      'state',
      'device',
      {
        device,
        online: lastSeen % 2 === 0,
        last_seen: lastSeen,
        firmware_version: `1.0.${lastSeen}`,
        model: 'm',
        door: 'native',
      },
      0,
    ),
  ]);

const hasAll = (gateway: TestGateway) => async (): Promise<boolean> => {
  const lanes = [gateway.audit, gateway.state, gateway.telemetry.lane];
  for (const lane of lanes) await lane.refresh();
  return lanes.every((lane) => lane.backlog() === 0);
};

t.test('plan, claims and all lanes get through, whatever is cut or killed', async (t) => {
  t.setTimeout(300_000);
  const { fleet, open } = await openFleet(t, '--link.keepalive-ms=300');
  const gateway = await open(await fleet.enrol('gateway'));

  await until('the first plan', () => gateway.plan.current() !== undefined);
  t.match(gateway.plan.current()?.documents.site.get('site')?.body, { display_name: 'a' });
  const first = gateway.plan.current()?.head.revision ?? 0;
  const { api } = fleet;
  await api.call(api.devices, api.devices.createClaimCode, {
    parent: site,
    deviceId: 'd-new',
    lifetimeSeconds: 0,
    model: '',
  });
  const claims = () => gateway.plan.current()?.documents.claims.get('claims')?.body.codes;
  await until('the claim', () => claims()?.length === 1);
  t.match(claims(), [{ device_id: 'd-new' }]);
  t.ok((gateway.plan.current()?.head.revision ?? 0) > first);

  const deviceIds = Array.from({ length: 8 }, (_, index) => `d${index}`);
  let isWriting = true;
  let rounds = 0;
  let points = 0;
  const write = async (): Promise<void> => {
    for (const device of deviceIds) await enrolled(gateway, device);
    while (isWriting) {
      rounds += 1;
      for (const device of deviceIds) {
        await seen(gateway, device, rounds);
        const values = Array.from({ length: 25 }, (_, index) => ({
          device,
          series: 's',
          ts: 1,
          value: rounds,
          boot: 'b',
          seq: rounds * 25 + index,
        }));
        points += values.length;
        await gateway.telemetry.record(values);
      }
      await pause(20);
    }
  };
  const disturb = async (): Promise<void> => {
    try {
      for (let round = 0; round < 4; round += 1) {
        for (let flap = 0; flap < 6; flap += 1) {
          // Some while it greets, some in the middle of batches.
          await pause(Math.random() * 100);
          if (flap % 2 === 0) await until('a connection', () => gateway.link.status().connected);
          if (flap === 5) fleet.wan.stall();
          else fleet.wan.flap();
        }
        await until('a connection', () => gateway.link.status().connected);
        await pause(Math.random() * 50);
        await fleet.killCloud();
      }
    } finally {
      isWriting = false;
    }
  };
  await Promise.all([write(), disturb()]);
  await until('the end of the backlog', hasAll(gateway));
  t.comment(`${fleet.wan.connections} connections, ${points} points, ${rounds} rounds`);

  const { auditSeq, stateSeq, telemetrySeq } = await fleet.gateway();
  t.equal(Number(auditSeq), gateway.audit.sealed.seq);
  t.equal(Number(stateSeq), gateway.state.sealed.seq);
  t.equal(Number(telemetrySeq), gateway.telemetry.lane.sealed.seq);
  const devices = (await fleet.devices()).filter(({ name }) => !name.endsWith('d-new'));
  t.same(
    devices.map(({ serialNo, firmwareVersion }) => [serialNo, firmwareVersion]),
    deviceIds.map((device) => [`serial of ${device}`, `1.0.${rounds}`]),
  );
  for (const device of deviceIds) {
    t.same(
      (await fleet.points(device)).map(({ seq }) => Number(seq)),
      Array.from({ length: rounds * 25 }, (_, index) => 25 + index),
    );
  }
  await fleet.cloud.stop();
  const database = await openDatabase({ path: fleet.database, readOnly: true });
  t.teardown(() => database.close());
  // Counts what came to be applied, also what would then have been found to be there already.
  t.match(await database.all('SELECT last_position FROM telemetry_positions'), [
    { last_position: points },
  ]);
  t.same(
    await database.all(
      'SELECT kind, count(*) AS count FROM journal WHERE problem <> ? GROUP BY kind',
      [''],
    ),
    [],
    'nothing of it was unknown to the control plane',
  );
  const logs = await database.all('SELECT DISTINCT lane, log FROM lane_positions');
  t.equal(logs.length, 3, 'no log was given up');
});

const commandsOf = async (gateway: TestGateway): Promise<string[]> => {
  const rows = await gateway.store.read.all<{ command: string }>(
    'SELECT command FROM commands ORDER BY command',
  );
  return rows.map(({ command }) => command);
};

const point = (seq: number) => ({ device: 'd', series: 's', ts: 1, value: seq, boot: 'b', seq });

t.test(
  'a control plane that is restored gets again what it lost, and its site follows',
  async (t) => {
    const { fleet, open } = await openFleet(t);
    const gateway = await open(await fleet.enrol('gateway'));
    await enrolled(gateway, 'd');
    await gateway.telemetry.record([1, 2, 3].map(point));
    await until('the device', async () => (await fleet.devices()).length === 1);
    await fleet.command('c1');
    await until('the command', async () => (await commandsOf(gateway)).length === 1);
    await until('the end of the backlog', hasAll(gateway));
    await until('the end of the orders', () => fleet.hasNoOrders());
    await fleet.whileStopped((folder) => cp(folder, `${folder}.backup`, { recursive: true }));

    await fleet.command('c2');
    await fleet.command('c3');
    await seen(gateway, 'd', 7);
    await gateway.telemetry.record([4, 5].map(point));
    const { api } = fleet;
    await api.call(api.devices, api.devices.createClaimCode, {
      parent: site,
      deviceId: 'd-lost',
      lifetimeSeconds: 0,
      model: '',
    });
    const codes = () => gateway.plan.current()?.documents.claims.get('claims')?.body.codes ?? [];
    await until('the claim', () => codes().length === 1);
    await until('the commands', async () => (await commandsOf(gateway)).length === 3);
    await until('the end of the backlog', hasAll(gateway));

    await fleet.whileStopped(async (folder) => {
      await rm(folder, { recursive: true });
      await cp(`${folder}.backup`, folder, { recursive: true });
    });
    await until('the plan that is restored', () => codes().length === 0);
    t.ok((gateway.plan.current()?.head.generation ?? 0) > 1, 'of a higher generation');
    await until('the telemetry', async () => (await fleet.points('d')).length === 5);
    await until(
      'what is known of the device',
      async () => (await fleet.devices())[0]?.firmwareVersion === '1.0.7',
    );
    await fleet.command('c4');
    await until('the next command', async () => (await commandsOf(gateway)).includes('c4'));
    t.same(await commandsOf(gateway), ['c1', 'c2', 'c3', 'c4']);
  },
);

t.test('a gateway that is replaced is fenced, and hands over what it saw', async (t) => {
  const { fleet, open } = await openFleet(t);
  const older = await open(await fleet.enrol('older'));
  await enrolled(older, 'd');
  await until('the device', async () => (await fleet.devices()).length === 1);
  fleet.wan.cut();
  await seen(older, 'd', 2);
  await older.telemetry.record([1, 2].map(point));

  const newer = await open(await fleet.enrol('newer', { replace: true }));
  fleet.wan.restore();
  await until('the fence', () => older.fence.isFenced());
  await until('the plan of the new gateway', () => newer.plan.current() !== undefined);
  t.equal(newer.fence.epoch, 2);
  t.notOk(newer.fence.isFenced());
  await until('the points of the old one', async () => (await fleet.points('d')).length === 2);
  await until('the end of its backlog', hasAll(older));
  await seen(newer, 'd', 4);
  await until('the end of the backlog', hasAll(newer));
  await fleet.command('c1');
  await until('the command', async () => (await commandsOf(newer)).length === 1);
  t.same(await commandsOf(older), []);
  t.equal((await fleet.devices())[0]?.firmwareVersion, '1.0.4');
});

t.test('a copy of a running gateway is told so, and its original works on', async (t) => {
  const { fleet, open } = await openFleet(t, '--link.answer-timeout-ms=2000');
  const options = await fleet.enrol('gateway');
  const original = await open(options);
  await until('the plan', () => original.plan.current() !== undefined);
  const dir = `${options.dir}.copy`;
  await cp(options.dir, dir, { recursive: true });
  const copy = await open({ ...options, dir });
  await until('the refusal', () => copy.link.status().refusal?.code === 'GATEWAY_CLONED');
  t.ok((await fleet.gateway()).cloneSuspected);
  await enrolled(original, 'd');
  await until('the device', async () => (await fleet.devices()).length === 1);
  t.ok(original.link.status().connected);
  t.notOk(copy.fence.isFenced());
});
