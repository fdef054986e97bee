/** Debian's SWUpdate, which nobody here wrote, updates from the site: every end that an update of it can come to. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { swupdateConfiguration } from '@holdfast/provisioning/cli/commands/target-tokens';
import { makeFolder } from '@holdfast/provisioning/storage/make-folder';
import { systemClock } from '@holdfast/provisioning/time/clock';
import { withDeadline } from '@holdfast/provisioning/time/deadline';
import t from 'tap';
import { campaignBody } from '../../updates/updates-fixture.js';
import { imageBody, openTestDdi } from './test-ddi-site.js';
import { openBadNetwork, openTunnel } from './test-device-network.js';
import { makeReleaseKey, makeSwu, type SwuParts, Swupdate } from './test-swupdate.js';

const run = promisify(execFile);
// SWUpdate has sockets in it, whose names must not be long.
const work = await mkdtemp(join(tmpdir(), 'swu-'));
const release = await makeReleaseKey(work, 'release');
const stranger = await makeReleaseKey(work, 'stranger');
/** What the device called so runs, and where it would find what it ran before. */
const slotOf = (device: string): string => join(work, device, 'slot.img');
const runningOf = (device: string): string => join(work, device, 'running.img');

const [small, large] = [randomBytes(200_000), randomBytes(3_000_000)];
// An image with five other pages than the one before: the device finds them by the index of its chunks.
const before = randomBytes(2_000_000);
const after = Buffer.from(before);
for (let page = 0; page < 5; page += 1) randomBytes(4_096).copy(after, 100_000 + page * 350_000);
await writeFile(join(work, 'after.img'), after);
await run('zck', ['-u', '-h', 'sha256', '-o', 'after.zck', 'after.img'], { cwd: work });
const zck = await readFile(join(work, 'after.zck'));
const zckSha256 = createHash('sha256').update(zck).digest('hex');
const { stdout: zckHeader } = await run('zck_read_header', ['-v', 'after.zck'], { cwd: work });
const index = zck.subarray(0, Number(/Header size:\s*(\d+)/i.exec(zckHeader)?.[1]));

const tunnel = await openTunnel();
const raw = (file: Uint8Array, more: Partial<SwuParts> = {}) => ({
  ...{ file, more },
  image: (device: string) => `type = "raw"; device = "${slotOf(device)}";`,
});
const kinds = {
  good: raw(large),
  forged: raw(small, { signedBy: stranger }),
  foreign: raw(small, { hardware: '9.9' }),
  older: raw(small, { version: '1.0.0' }),
  cancelled: raw(large),
  delta: {
    file: index,
    more: {},
    image: (device: string) => `type = "delta"; device = "${slotOf(device)}";
      properties: { url = "${tunnel.url}/firmware/sha256/${zckSha256}"; chain = "raw";
        source = "${runningOf(device)}"; zckloglevel = "error"; };`,
  },
};
type Device = keyof typeof kinds;
// The keys of an object of ours.
const devices = Object.keys(kinds) as readonly Device[];
const swus = await Promise.all(
  devices.map((device) => {
    const { file, more, image } = kinds[device];
    return makeSwu(join(work, 'made', device), {
      ...{ version: '2.0.0', hardware: '1.0', signedBy: release, image: image(device) },
      ...{ file, fileName: 'image' },
      ...more,
    });
  }),
);

const site = await openTestDdi(t, {
  ...{ clock: systemClock(), images: [...swus, zck], pollS: 1, waitingPollS: 1 },
});
const { tls } = await site.fleet.device('delta');
tunnel.lead({ port: site.port, ca: site.ca, ...tls });
const slow = await openBadNetwork({ to: site.port, bytesPerS: 250_000 });
const breaking = await openBadNetwork({ to: site.port, cutAfterBytes: 900_000, mostCuts: 3 });
const root = join(work, 'root.pem');
await writeFile(root, site.ca);
const started = new Map<Device, Swupdate>();
t.teardown(async () => {
  await Promise.all([...started.values()].map((one) => one.kill()));
  await Promise.all([slow.close(), breaking.close(), tunnel.close()]);
  await rm(work, { recursive: true, force: true });
});

const bodies = devices.map((device, i) =>
  imageBody(swus[i] ?? small, { model: device, version: '2.0.0', file_name: `${device}.swu` }),
);
const { policy } = campaignBody();
/** A campaign a device, all of them running but those that are taken back. */
const campaigns = (takenBack: readonly Device[] = []) =>
  site.start(
    Object.fromEntries(
      devices.map((device) => [
        device,
        {
          firmware: [`${device}@2.0.0`],
          state: takenBack.includes(device) ? 'cancelling' : 'running',
          policy: { ...policy, retries: 0 },
        },
      ]),
    ),
    bodies,
  );

/** Puts the device there, with a token, or with a certificate where its tunnel shows the same. */
const install = async (device: Device, port = site.port): Promise<Swupdate> => {
  const folder = join(work, device);
  await makeFolder(folder);
  await writeFile(slotOf(device), '');
  await writeFile(runningOf(device), before);
  const token = await site.tokenFor(device, device);
  const [sslcert, sslkey] = [join(folder, 'device.pem'), join(folder, 'device.key')];
  if (device === 'delta') {
    await writeFile(sslcert, tls.cert);
    await writeFile(sslkey, tls.key);
  }
  const access = { device, token, tenant: 'default', url: `https://127.0.0.1:${port}` };
  const configuration = swupdateConfiguration({ ...access, cafile: root });
  const byCertificate = configuration.replace(
    /targettoken = .*/,
    `sslcert = "${sslcert}"; sslkey = "${sslkey}";`,
  );
  const swupdate = new Swupdate({
    folder,
    key: release,
    configuration: device === 'delta' ? byCertificate : configuration,
    // The one that tells of itself asks, tells, sleeps and asks again before it begins.
    ...(device === 'cancelled'
      ? { pollS: 1, identity: { hw_revision: 'b', serial: 'n-1' } }
      : { pollS: 20 }),
  });
  started.set(device, swupdate);
  return swupdate;
};

/**
 * Resolves with the first of these that the execution of a device has come to. On a machine that is busy SWUpdate 2022.12 may hang or
 * crash as an update ends: then it is started anew, as the watchdog of a device would.
 */
const reached = async (device: Device, ...wanted: string[]): Promise<string> => {
  let watchedAt = performance.now();
  const look = async (signal: AbortSignal): Promise<string> => {
    for (;;) {
      const status = (await site.statusOf(device, device)) ?? 'none';
      if (wanted.includes(status) || signal.aborted) return status;
      if (performance.now() - watchedAt > watchdogMs) {
        watchedAt = performance.now();
        await started.get(device)?.restart();
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const doing = `waiting for ${device} to be ${wanted.join(' or ')}`;
  return withDeadline(look, 50_000, { doing }).catch(async (cause: unknown) => {
    const status = await site.statusOf(device, device);
    throw new Error(`it is ${status}: ${started.get(device)?.output}`, { cause });
  });
};
const watchdogMs = 7_000;
const ends = ['succeeded', 'unproven', 'failed', 'rolled_back', 'cancelled', 'superseded'];
const errorOf = async (device: Device) =>
  (await site.updates.executionOf(device, device))?.execution.error;

t.setTimeout(90_000);
await campaigns();
// Each on a device of its own and all at once, since they wait for themselves most of the time.
const ended = {
  good: (async () => {
    const swupdate = await install('good', breaking.port);
    await swupdate.start();
    const installed = await reached('good', 'rebooting', ...ends);
    await swupdate.kill();
    await swupdate.start({ confirm: 2 });
    return [installed, await reached('good', ...ends)];
  })(),
  refused: Promise.all(
    (['forged', 'foreign', 'older'] as const).map(async (device) => {
      const swupdate = await install(device);
      await swupdate.start(device === 'older' ? { more: ['-N', '2.0.0'] } : {});
      return [device, await reached(device, 'rebooting', ...ends)] as const;
    }),
  ),
  cancelled: (async () => {
    const swupdate = await install('cancelled', slow.port);
    await swupdate.start();
    const loading = await reached('cancelled', 'downloading', ...ends);
    await campaigns(['cancelled']);
    return [loading, await reached('cancelled', ...ends)];
  })(),
  delta: (async () => {
    const swupdate = await install('delta');
    await swupdate.start();
    return reached('delta', 'rebooting', ...ends);
  })(),
};
for (const story of Object.values(ended)) story.catch(() => undefined);

t.test('installs over a network that breaks off, restarts and confirms', async (t) => {
  t.same(await ended.good, ['rebooting', 'succeeded']);
  t.equal(breaking.cuts, 3);
  t.same((await readFile(slotOf('good'))).compare(large), 0, 'byte for byte');
  t.match(site.devices.get('good'), { firmwareVersion: '2.0.0', door: 'ddi' });
});

t.test('a wrong signature, a wrong board and a downgrade are refused and told', async (t) => {
  const why = { forged: /signature/, foreign: /hardware|ompatible/, older: /No downgrading/ };
  for (const [device, status] of await ended.refused) {
    t.equal(status, 'failed', device);
    t.match(started.get(device)?.output, why[device], device);
    // Its log, where it gets to send it, else its last word.
    t.match(await errorOf(device), /ERROR|suitable/, device);
    t.equal((await readFile(slotOf(device))).length, 0, 'nothing was written');
  }
});

t.test('is cancelled while it loads', async (t) => {
  t.same(await ended.cancelled, ['downloading', 'cancelled']);
  t.equal((await readFile(slotOf('cancelled'))).length, 0);
  t.equal(site.devices.get('cancelled')?.serialNo, 'n-1', 'it has told of itself');
});

t.test('loads of an image what it has not, in several ranges at once', async (t) => {
  t.equal(await ended.delta, 'rebooting');
  t.equal((await readFile(slotOf('delta'))).compare(after), 0, 'byte for byte');
  t.ok(tunnel.bytes < zck.length / 3, `${tunnel.bytes} of ${zck.length} bytes`);
  t.ok(
    tunnel.ranges.some((range) => range.includes(',')),
    tunnel.ranges.join(' '),
  );
});
