/**
 * Faults 7 to 9: a machine that believes it is 1970, one whose clock jumps a year ahead, one whose clock runs back. The gateway is the
 * program as it is shipped, its clock libfaketime's, its control plane the tests'.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { enrol as enrolDevice } from '@holdfast/devices/agent/enrol';
import { keyPath } from '@holdfast/devices/agent/identity';
import type { JournalEntry } from '@holdfast/protos/link/journal-entries';
import { verifiedAgent } from '@holdfast/provisioning/pki/first-contact';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { type Child, startChild } from '@holdfast/provisioning/program/children';
import { waitUntil } from '@holdfast/provisioning/program/wait-until';
import axios from 'axios';
import { connectAsync } from 'mqtt';
import t, { type Test } from 'tap';
import { TestCloud } from '../link/test-cloud.js';
import { TestWan } from '../link/test-wan.js';
import { openGatewayRecord } from '../trust/gateway-identity.js';
import { enrol } from './enrolled-site.js';

const bin = fileURLToPath(new URL('../../bin/holdfast-gateway.js', import.meta.url));
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const day = 86_400_000;
t.setTimeout(600_000);

/** libfaketime, without the program that sets it up: that one fixes the time, and here it is to be read anew every second. */
const preload = '/usr/$LIB/faketime/libfaketimeMT.so.1';

const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-time-'));
  const fleet = await createTestFleet();
  const cloud = await TestCloud.open(fleet);
  const wan = await TestWan.open(cloud.port);
  await enrol(fleet, folder);
  const stored = await openGatewayRecord(folder, silent);
  if (stored.data === null) throw new Error('not enrolled');
  const record = { ...stored.data, link_address: wan.address };
  await stored.update(() => record);
  const faketime = join(folder, 'faketime');
  const children: Child[] = [];
  t.teardown(async () => {
    for (const child of children) await child.kill();
    await wan.close();
    await cloud.close();
    await rm(folder, { recursive: true });
  });
  /** As libfaketime has it: `@1970-01-01 00:10:00`, `+365d`. */
  const setClock = (text: string) => writeFile(faketime, `${text}\n`);
  const start = async () => {
    const child = await startChild({
      bin,
      args: ['--data', folder, '--log-level', 'warn'],
      env: {
        HOLDFAST_LISTEN__HOST: '127.0.0.1',
        HOLDFAST_LISTEN__MQTTS_PORT: '0',
        HOLDFAST_LISTEN__HTTPS_PORT: '0',
        HOLDFAST_LISTEN__CONSOLE_PORT: '0',
        HOLDFAST_LINK__FIRST_RETRY_MS: '50',
        HOLDFAST_LINK__MOST_RETRY_MS: '200',
        LD_PRELOAD: preload,
        DONT_FAKE_MONOTONIC: '1',
        FAKETIME_TIMESTAMP_FILE: faketime,
        FAKETIME_CACHE_DURATION: '1',
      },
      timeoutMs: 60_000,
    });
    children.push(child);
    const { console: port, https, mqtts } = child.ports;
    const httpsAgent = verifiedAgent({
      role: 'gateway-server',
      root: fleet.root.certificate,
      at: 'unchecked',
    });
    const api = async (method: string, path: string, data?: object) => {
      const url = `https://127.0.0.1:${port}/api/v1${path}`;
      const headers = { authorization: 'Bearer nobody' };
      return (await axios.request({ method, url, data, headers, httpsAgent })).data;
    };
    return { child, api, https: `127.0.0.1:${https}`, mqtts: mqtts ?? 0 };
  };
  /** A restart of the machine, as its record tells one: another boot. */
  const restartMachine = async () => {
    const path = join(folder, 'clock.json');
    const clock = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...clock, boot: { ...clock.boot, id: 'before' } }));
  };
  return { folder, fleet, cloud, wan, setClock, start, restartMachine };
};

type Site = Awaited<ReturnType<typeof openSite>>;

/** Enrols a device with a code made on site, and connects it. */
const device = async (t: Test, site: Site, gateway: Awaited<ReturnType<Site['start']>>) => {
  const { code } = await gateway.api('POST', '/claims', { device_id: 'd' });
  const dataDir = join(site.folder, 'device');
  const identity = await enrolDevice(
    { log: silent },
    { dataDir, proof: { code }, gateway: gateway.https, model: 'm' },
  );
  const client = await connectAsync({
    protocol: 'mqtts',
    host: '127.0.0.1',
    port: gateway.mqtts,
    clientId: 'd',
    cert: `${identity.certificate}\n${identity.siteCa}`,
    key: await readFile(keyPath(dataDir), 'utf8'),
    rejectUnauthorized: false,
  });
  t.teardown(() => client.endAsync(true));
  const told: { topic: string; payload: unknown }[] = [];
  client.on('message', (topic, payload) => {
    told.push({ topic, payload: JSON.parse(payload.toString()) });
  });
  await client.subscribeAsync(['dt/d/time/now', 'dt/d/commands/+'], { qos: 1 });
  return { client, told };
};

const bodies = (entries: readonly JournalEntry[], kind: string) =>
  // biome-ignore lint/suspicious/noExplicitAny: whatever a test looks at
  entries.filter((entry) => entry.kind === kind).map(({ body }) => body as any);

t.test(
  'boots at 1970: serves, enrols, applies a plan, lets nothing expire, and knows later when it all was',
  async (t) => {
    const site = await openSite(t);
    const { cloud, wan, setClock, start } = site;
    wan.cut();
    await setClock('@1970-01-01 00:10:00');
    const gateway = await start();
    const { now, ...clock } = await gateway.api('GET', '/clock');
    t.match(clock, { trusted: false, source: null, doubt: 'below_floor' });
    t.ok(now > Date.now() - 10 * day, 'it is at least the time of its certificate');

    const { client, told } = await device(t, site, gateway);
    await client.publishAsync('dt/d/time/get', '{}', { qos: 1 });
    await waitUntil('it says that it does not know the time', async () =>
      told.some(({ topic }) => topic === 'dt/d/time/now'),
    );
    t.match(told[0], { payload: { trusted: false } });
    await gateway.api('POST', '/claims', { device_id: 'e', lifetime_ms: day });
    const sentAt = Date.now();
    await client.publishAsync('dt/d/telemetry/t', '21', { qos: 1 });

    // It reaches the control plane, which does not tell the time yet.
    wan.restore();
    const name: { display_name: string } = { display_name: 'Farm' };
    await cloud.publish([{ kind: 'site', id: 'site', revision: 1, body: name }]);
    await cloud.give({
      kind: 'command',
      body: { device: 'd', command: 'c', type: 'blink', payload: null, expires_at: 86_400_000 },
    });
    await cloud.until(() => cloud.planAnswers.length > 0);
    t.same(cloud.planAnswers, [{ generation: 1, revision: 1, refusedCode: '' }]);
    await waitUntil('a command that would have expired in 1970 is sent', async () =>
      told.some(({ topic }) => topic === 'dt/d/commands/c'),
    );
    t.match(await gateway.api('GET', '/clock'), { trusted: false });

    cloud.time = Date.now;
    await cloud.until(() => bodies(cloud.entries('audit'), 'clock').length > 0);
    const [{ boot, offset, source }] = bodies(cloud.entries('audit'), 'clock');
    t.equal(source, 'signed');
    await cloud.until(() => bodies(cloud.entries('telemetry'), 'point').length > 0);
    const [point] = bodies(cloud.entries('telemetry'), 'point');
    t.equal(point.stamp.boot, boot);
    const meant = offset + point.stamp.mono;
    t.ok(Math.abs(meant - sentAt) < 10_000, `${meant - sentAt} ms off`);
    t.match(await gateway.api('GET', '/clock'), { trusted: true, source: 'signed' });
    const { claims } = await gateway.api('GET', '/claims');
    // What is less than a minute is not corrected.
    const lasts = claims[0].expires_at - sentAt;
    t.ok(Math.abs(lasts - day) < 70_000, 'a code made meanwhile lasts as long as it was to');
    await waitUntil(
      'what has expired does',
      async () => {
        const { commands } = await gateway.api('GET', '/devices/d/commands');
        return commands[0].state === 'expired';
      },
      { deadlineMs: 90_000 },
    );

    t.comment('the program restarts: it knows the time without anybody');
    wan.cut();
    await gateway.child.stop();
    const again = await start();
    t.match(await again.api('GET', '/clock'), { trusted: true, source: 'signed' });
    const { now: known } = await again.api('GET', '/clock');
    t.ok(Math.abs(known - Date.now()) < 60_000);

    t.comment('the machine restarts: the floor is all that is left');
    await again.child.stop();
    await site.restartMachine();
    const reboot = await start();
    const after = await reboot.api('GET', '/clock');
    t.match(after, { trusted: false, doubt: 'below_floor' });
    t.ok(after.floor >= known);
    t.match(await reboot.api('POST', '/clock', { time: Date.now() }), {
      trusted: true,
      source: 'operator',
    });
  },
);

t.test(
  'a clock that jumps a year ahead or back expires nothing and reorders nothing',
  async (t) => {
    const site = await openSite(t);
    const { cloud, wan, setClock, start } = site;
    cloud.time = Date.now;
    await setClock('+0');
    const gateway = await start();
    const isTrusted = async () => (await gateway.api('GET', '/clock')).trusted === true;
    await waitUntil('the time is known', isTrusted);
    const { client, told } = await device(t, site, gateway);
    const { code } = await gateway.api('POST', '/claims', { device_id: 'later' });
    await gateway.api('POST', '/devices/d/commands', { command_id: 'c', type: 'blink' });
    wan.cut();
    for (const jump of ['+400d', '-400d']) {
      await setClock(jump);
      await waitUntil(`${jump} is seen`, async () => !(await isTrusted()));
      const { now, doubt } = await gateway.api('GET', '/clock');
      t.equal(doubt, 'jumped');
      t.ok(Math.abs(now - Date.now()) < 60_000, 'it goes on as before');
      await client.publishAsync('dt/d/telemetry/t', '1', { qos: 1 });
      const { commands } = await gateway.api('GET', '/devices/d/commands');
      t.equal(commands[0].state, 'delivered', 'nothing expires');
      t.equal(client.connected, true, 'nobody is cut');
      t.match(await gateway.api('GET', '/status'), { devices: { online: 1 } });
    }
    const dataDir = join(site.folder, 'later');
    await enrolDevice(
      { log: silent },
      { dataDir, proof: { code }, gateway: gateway.https, model: 'm' },
    );
    t.pass('a code is still one');
    t.equal(told.filter(({ topic }) => topic.startsWith('dt/d/commands')).length > 0, true);

    cloud.time = Date.now;
    wan.restore();
    await waitUntil('the link settles it', isTrusted);
    await cloud.until(() => bodies(cloud.entries('telemetry'), 'point').length === 2);
    const points = bodies(cloud.entries('telemetry'), 'point');
    t.ok(points[0].stamp.mono < points[1].stamp.mono);
    await cloud.until(() => bodies(cloud.entries('audit'), 'clock_doubted').length > 0);
    const times = cloud.entries('audit').map(({ at }) => at);
    t.ok(
      times.every((at) => Math.abs(at - Date.now()) < day),
      'every entry is of today',
    );
  },
);
