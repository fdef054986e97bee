import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { openSimulation } from '../simulator/simulate.js';
import { openSimulatedDevice } from '../simulator/simulated-device.js';
import { openAgent } from './agent.js';
import { enrol } from './enrol.js';
import { keyPath, loadCredentials } from './identity.js';
import { silentLog as log } from './log.js';
import { type Said, TestGateway } from './test-gateway.js';
import { makeArchive, makeDirectory } from './update/update-fixture.js';

const setUp = async (t: Test) => {
  const gateway = await TestGateway.open();
  const directory = await makeDirectory();
  t.teardown(async () => {
    await gateway.close();
    await directory.remove();
  });
  const dataDir = join(directory.path, 'device');
  const identify = async (deviceId = 'dev-1') => {
    await enrol({ log }, { dataDir, proof: { code: gateway.code }, deviceId, model: 'pi' });
    return loadCredentials(dataDir, log);
  };
  return { gateway, dataDir, directory, identify };
};

const fields = (said: Said) => said.body as Record<string, unknown>;
const status =
  (wanted: string) =>
  (said: Said): boolean =>
    /\/jobs\/[^/]+\/update$|\/status$/.test(said.topic) && fields(said).status === wanted;

t.test('enrols with a code, keeps its key to itself, and refuses another root', async (t) => {
  const { gateway, dataDir, identify } = await setUp(t);
  const { identity, key } = await identify();
  t.match(identity, { deviceId: 'dev-1', site: 'site-a', gateways: [gateway.ports] });
  t.match(key, /PRIVATE KEY/);
  t.equal((await stat(keyPath(dataDir))).mode & 0o777, 0o600);
  t.notMatch(await readFile(join(dataDir, 'identity.json'), 'utf8'), /PRIVATE/);
  const stranger = await TestGateway.open();
  t.teardown(() => stranger.close());
  await t.rejects(
    enrol(
      { log },
      {
        dataDir: `${dataDir}-2`,
        proof: { code: gateway.code },
        gateway: `127.0.0.1:${String(stranger.ports.https)}`,
        deviceId: 'x',
        model: 'pi',
      },
    ),
    { code: 'PEER_REFUSED' },
  );
});

t.test(
  'says which port it is that enrols, where nothing comes of the one it was given',
  async (t) => {
    const { gateway, dataDir } = await setUp(t);
    const at = (address: string) =>
      enrol({ log }, { dataDir, proof: { code: gateway.code }, gateway: address, model: 'pi' });
    const failed = { code: 'CONNECTION_FAILED', message: /enrol devices at port 8443/ };
    await t.rejects(at('127.0.0.1:1'), failed, 'one that is closed');
    // An address that nothing has: a gateway may well listen at the usual port of this machine.
    const nobody = '255.255.255.255';
    await t.rejects(at(nobody), { message: /255:8443.*switched on/ }, 'none was given');
    await t.rejects(at('http://x:8443'), { code: 'REQUEST_INVALID' });
  },
);

t.test('never speaks to a gateway of another site', async (t) => {
  const { gateway, dataDir, identify } = await setUp(t);
  const credentials = await identify();
  const other = await TestGateway.open(await gateway.fleet.otherSite('site-b'));
  t.teardown(() => other.close());
  const moved = { ...credentials.identity, gateways: [{ host: '127.0.0.1', ...other.ports }] };
  const refused = new Promise<void>((resolve) => {
    const info = (data: object) => {
      if (/refused/.test(JSON.stringify(data))) resolve();
    };
    void openAgent(
      { credentials: { ...credentials, identity: moved }, log: { ...log, info } },
      { dataDir, signal: AbortSignal.timeout(20_000) },
    ).then((agent) => t.teardown(() => agent.close()));
  });
  await refused;
  t.equal(other.connections, 0);
});

t.test('applies what is desired, then reports it, also what it cannot take', async (t) => {
  const { gateway, dataDir, identify } = await setUp(t);
  const credentials = await identify();
  const agent = await openAgent(
    { credentials, log },
    { dataDir, hardware: 'b', signal: AbortSignal.timeout(20_000) },
  );
  t.teardown(() => agent.close());
  await gateway.heard(({ topic }) => topic === 'dt/dev-1/shadow/get');
  gateway.send('dt/dev-1/shadow/get/accepted', {
    state: { desired: { light: 'on', agent: { health_interval_s: 0.1 } }, reported: { old: 1 } },
    version: 4,
  });
  const first = await gateway.heard(({ topic }) => topic === 'dt/dev-1/shadow/update');
  t.match(first.body, {
    state: {
      reported: {
        light: 'on',
        old: null,
        agent: { health_interval_s: 0.1 },
        firmware: { version: 'none' },
        device: { hardware: 'b' },
      },
    },
  });
  gateway.send('dt/dev-1/shadow/delta', {
    state: { agent: { health_interval_s: -1 } },
    version: 5,
  });
  const second = await gateway.heard(
    (said) => said !== first && /shadow\/update$/.test(said.topic),
  );
  t.match(second.body, { state: { reported: { agent_refused: { health_interval_s: /./ } } } });
  t.same(JSON.parse(await readFile(join(dataDir, 'app-settings.json'), 'utf8')), { light: 'on' });
  const point = await gateway.heard(({ topic }) => topic === 'dt/dev-1/telemetry/memory_used');
  t.match(point.body, { value: Number, ts: Number, boot: String, seq: Number });
});

t.test('does a command once and answers it until the answer is known', async (t) => {
  const { gateway, dataDir, identify } = await setUp(t);
  const credentials = await identify();
  const open = () =>
    openAgent({ credentials, log }, { dataDir, signal: AbortSignal.timeout(20_000) });
  const agent = await open();
  await gateway.connected(1);
  const isAnswer = ({ topic }: Said) => topic === 'dt/dev-1/commands/c1/response';
  let withheld: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => {
    withheld = resolve;
  });
  gateway.onPublish = (said) => {
    if (isAnswer(said)) withheld();
    return !isAnswer(said);
  };
  const command = { type: 'ping', payload: null, expires_at: Date.now() + 60_000 };
  gateway.send('dt/dev-1/commands/c1', command);
  await answered;
  await agent.close();
  gateway.onPublish = () => true;
  const again = await open();
  t.teardown(() => again.close());
  const { body } = await gateway.heard(isAnswer);
  t.match(body, { status: 'succeeded', result: { boot: String } });
  gateway.send('dt/dev-1/commands/c2', { ...command, expires_at: 1 });
  gateway.send('dt/dev-1/commands/c3', { ...command, type: 'dance' });
  t.match((await gateway.heard(({ topic }) => /c2\/response/.test(topic))).body, {
    status: 'expired',
  });
  t.match((await gateway.heard(({ topic }) => /c3\/response/.test(topic))).body, {
    status: 'rejected',
  });
});

t.test('updates over the jobs topics with a new boot id', async (t) => {
  const { gateway, dataDir, directory, identify } = await setUp(t);
  const credentials = await identify();
  const initialApp = await makeArchive(directory.path, { version: '1.0.0' });
  const archive = await makeArchive(directory.path, { version: '2.0.0' });
  const firmware = gateway.addFirmware(await readFile(archive));
  const agent = await openAgent(
    { credentials, log },
    { dataDir, initialApp, askAgainMs: 20, signal: AbortSignal.timeout(20_000) },
  );
  t.teardown(() => agent.close());
  await gateway.heard(({ topic }) => topic === 'dt/dev-1/jobs/next/get');
  const { url, sha256, sizeBytes: size_bytes } = firmware;
  const document = {
    ...{ operation: 'update', campaign_id: 'job-2', model: 'pi', version: '2.0.0' },
    ...{ url, sha256, size_bytes },
  };
  gateway.send('dt/dev-1/jobs/notify', {
    execution: { job_id: 'job-2', version: 1, status: 'offered', document },
  });
  const before = fields(await gateway.heard(status('downloading')));
  t.match(before, { version: '1.0.0', boot_id: String });
  const asks = () => gateway.said.filter(status('installing')).length;
  await gateway.heard(status('installing'));
  gateway.send('dt/dev-1/jobs/job-2/update/rejected', {
    client_token: 'installing',
    code: 423,
    message: 'waits for the window nights',
  });
  await gateway.heard(() => asks() > 1);
  t.notOk(gateway.said.some(status('rebooting')), 'it waits, and asks again');
  gateway.send('dt/dev-1/jobs/job-2/update/accepted', { client_token: 'installing' });
  const after = fields(await gateway.heard(status('succeeded')));
  t.match(after, { version: '2.0.0' });
  t.not(after.boot_id, before.boot_id);
  gateway.send('dt/dev-1/jobs/job-2/update/accepted', { client_token: 'succeeded' });
  await gateway.heard(
    (said) =>
      said.topic === 'dt/dev-1/jobs/next/get' &&
      gateway.said.indexOf(said) > gateway.said.findIndex(status('succeeded')),
  );
  t.equal(agent.version, '2.0.0');
});

t.test('loses no measurement while the gateway is away', async (t) => {
  const { gateway, dataDir, identify } = await setUp(t);
  const device = await openSimulatedDevice(
    { credentials: await identify(), log },
    { dataDir, door: 'jobs', initialVersion: '1.0.0', telemetryIntervalS: 0.05 },
  );
  t.teardown(() => device.close());
  const seen = new Set<unknown>();
  let cuts = 0;
  const enough = new Promise<void>((resolve) => {
    gateway.onPublish = ({ topic, body }) => {
      if (!topic.includes('/telemetry/')) return true;
      const { values, ...single } = body as { values?: { seq: number }[] };
      // Every seventh is lost with its connection before it was acknowledged.
      if (seen.size % 7 === 6 && cuts < 3) {
        cuts += 1;
        gateway.cut();
        return false;
      }
      for (const { seq } of values ?? [single as { seq: number }]) seen.add(seq);
      if (seen.size > 40) resolve();
      return true;
    };
  });
  await enough;
  t.equal(cuts, 3);
  t.same(
    [...seen],
    Array.from(seen, (_, index) => index),
    'in order and none is missing',
  );
});

for (const [outcome, expected, version] of [
  ['ok', 'succeeded', '2.0.0'],
  ['crash', 'rolled_back', '1.0.0'],
  ['hang', 'rolled_back', '1.0.0'],
] as const) {
  t.test(`a simulated device of the older set shows its restart: ${outcome}`, async (t) => {
    const { gateway, dataDir, identify } = await setUp(t);
    const device = await openSimulatedDevice(
      { credentials: await identify(), log },
      { dataDir, door: 'older', initialVersion: '1.0.0', telemetryIntervalS: 1 },
    );
    t.teardown(() => device.close());
    const beat = ({ topic }: Said) => topic === 'devices/dev-1/heartbeat';
    t.match((await gateway.heard(beat)).body, { current_firmware: '1.0.0' });
    const bytes = Buffer.from(`{"simulated_outcome":"${outcome}"}\n${'x'.repeat(5_000)}`);
    const { url, sha256, sizeBytes } = gateway.addFirmware(bytes);
    gateway.send('devices/dev-1/command', {
      ...{ command: 'ota_update', campaign_id: 'c-2', version: '2.0.0' },
      ...{ url, checksum: `sha256:${sha256}`, size_bytes: sizeBytes },
    });
    t.match((await gateway.heard(status(expected))).body, { campaign_id: 'c-2' });
    t.ok(gateway.connections >= 2, 'a new session');
    const beats = gateway.said.filter(beat).map((said) => fields(said).current_firmware);
    t.ok(beats.slice(1).includes('2.0.0'), 'it was seen with the new version');
    t.equal(device.version, version);
  });
}

t.test('many devices enrol, and a later start finds them again', async (t) => {
  const { gateway, directory } = await setUp(t);
  const codesFile = join(directory.path, 'codes');
  await writeFile(codesFile, `${gateway.code}\npump-7 ${gateway.code}\n${gateway.code}\n`);
  const options = {
    ...{ dataDir: directory.path, count: 3, prefix: 'sim-', model: 'simulated' },
    ...{ initialVersion: '1.0.0', telemetryIntervalS: 1, signal: AbortSignal.timeout(20_000) },
  };
  const first = await openSimulation({ log }, { ...options, codesFile });
  await gateway.connected(3);
  t.same(first.devices.map(({ id }) => id).sort(), ['pump-7', 'sim-001', 'sim-003']);
  await first.close();
  const second = await openSimulation({ log }, { ...options, count: 2 });
  t.teardown(() => second.close());
  await gateway.connected(5);
  t.same(second.devices.map(({ id }) => id).sort(), ['pump-7', 'sim-001']);
  await t.rejects(openSimulation({ log }, { ...options, count: 4 }), { code: 'NOT_ENROLLED' });
});
