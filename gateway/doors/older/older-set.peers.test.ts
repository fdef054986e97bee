/** A device of the older set that has nothing but an MQTT client and curl: it is told an address, and loads it as it is. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import type { MqttClient } from 'mqtt';
import t from 'tap';
import { openPlannedSite, plannedCampaign } from '../../trust/planned-site-under-test.js';

const run = promisify(execFile);
const image = randomBytes(3_000_000);

t.test('curl loads what a device of the older set is told, over breaks', async (t) => {
  t.setTimeout(120_000);
  const { site, plan, executed } = await openPlannedSite(t, image);
  const device = 'old-1';
  const credentials = await site.enrol(device);
  const ca = join(site.folder, 'root-for-curl.pem');
  await writeFile(ca, site.fleet.root.certificate.pem);
  const curl = async (...args: string[]): Promise<number> => {
    const ran = run('curl', ['-sS', '--fail', '--cacert', ca, ...args], { timeout: 60_000 });
    return ran.then(
      () => 0,
      (error: { code: number }) => error.code,
    );
  };
  const command = `devices/${device}/command`;
  const open = async (): Promise<MqttClient> => {
    const client = site.connect(credentials, { clean: false });
    t.teardown(() => client.endAsync(true));
    await new Promise<void>((resolve) => client.once('connect', () => resolve()));
    await client.subscribeAsync(command, { qos: 1 });
    return client;
  };
  const commandTo = async (client: MqttClient): Promise<Record<string, string>> => {
    const told = new Promise<Buffer>((resolve) => {
      client.once('message', (_, payload) => resolve(payload));
    });
    const payload = await withDeadline(told, 30_000, { doing: 'waiting for the command' });
    return JSON.parse(payload.toString());
  };
  const beat = (client: MqttClient, current_firmware: string) =>
    client.publishAsync(
      `devices/${device}/heartbeat`,
      JSON.stringify({ serial_no: '7', model: 'pi', current_firmware, timestamp: 1 }),
      { qos: 1 },
    );
  const report = (client: MqttClient, status: string) =>
    client.publishAsync(
      `devices/${device}/status`,
      JSON.stringify({ campaign_id: 'old', status, timestamp: 1 }),
      { qos: 1 },
    );

  const one = await open();
  await beat(one, '1');
  const first = commandTo(one);
  await plan({ old: plannedCampaign({ firmware: ['pi@2'] }, [device]) });
  const { url: unused } = await first;
  await one.endAsync(true);

  const two = await open();
  const second = commandTo(two);
  await beat(two, '1');
  const { url = '', checksum, command: name, version, size_bytes } = await second;
  t.match(
    { name, version, size_bytes },
    { name: 'ota_update', version: '2', size_bytes: image.length },
  );
  t.match(checksum, /^sha256:[0-9a-f]{64}$/);
  t.match(new URL(url).searchParams.get('device'), device);
  t.equal(new URL(unused ?? '').pathname, new URL(url).pathname);

  const file = join(site.folder, 'loaded.bin');
  t.equal(await curl('--range', '0-999999', '--output', file, url), 0, 'a part');
  t.equal(await curl('--continue-at', '-', '--output', file, url), 0, 'the rest');
  t.ok((await readFile(file)).equals(image));
  t.equal(await curl('--head', '--output', '/dev/null', url), 0);
  const tampered = new URL(url);
  tampered.searchParams.set('device', 'old-2');
  t.equal(await curl('--output', '/dev/null', tampered.href), 22, 'refused');
  t.equal(await curl('--output', '/dev/null', url.split('?')[0] ?? ''), 22, 'no signature');
  await site.restart('kill');
  const moved = new URL(url);
  moved.port = String(site.port('https'));
  t.equal(await curl('--output', file, moved.href), 0, 'the gateway started again');

  const three = await open();
  for (const status of ['downloading', 'installing', 'rebooting']) await report(three, status);
  await three.endAsync(true);
  const four = await open();
  await beat(four, '2');
  await report(four, 'success');
  await executed('old', device, 'succeeded');
});
