import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { openPseudoTerminal } from '@holdfast/devices/serial/pseudo-terminal';
import { openSimulatedFlash } from '@holdfast/devices/simulator/simulated-flash';
import { SimulatedSerialDevice } from '@holdfast/devices/simulator/simulated-serial-device';
import t, { type Test } from 'tap';
import { farEnd } from './test-far-end.js';
import {
  folderOf,
  openSerialSite,
  type SerialSite,
  sha256Of,
  type TestFirmware,
} from './test-serial-site.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const pump = 'pump-1';
const job = 'c-2_0_0';

const good: TestFirmware = { version: '2.0.0', image: randomBytes(50_001) };
const bad = (outcome: string): TestFirmware => ({
  version: '2.0.0',
  image: Buffer.concat([Buffer.from(`{"simulated_outcome":"${outcome}"}\n`), randomBytes(5_000)]),
});

const simulated = async (t: Test, folder: string, link: string) => {
  const line = await openPseudoTerminal({ link });
  const flash = await openSimulatedFlash(
    { log },
    { directory: join(folder, 'flash'), version: '1.0.0' },
  );
  const device = new SimulatedSerialDevice(
    { line, flash },
    { id: pump, telemetryIntervalMs: 60_000, resendAfterMs: 200 },
  );
  device.open();
  t.teardown(async () => {
    device.close();
    await line.close();
  });
  return { device, flash, line };
};

const execution = async (site: SerialSite) =>
  (await site.updates.executions(job)).find(([device]) => device === pump)?.[1];

const becomes = (site: SerialSite, status: string) =>
  site.until(async () => {
    const found = await execution(site);
    return found?.status === status ? found : undefined;
  });

t.test('a device pulls its firmware and proves that it restarted into it', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const lines = [{ device: pump, path: link }];
  const site = await openSerialSite(t, folder, lines, { firmware: [good] });
  const { flash } = await simulated(t, folder, link);
  t.match(await becomes(site, 'succeeded'), {
    door: 'serial',
    fromVersion: '1.0.0',
    attempt: 1,
    error: null,
  });
  t.equal(flash.version, '2.0.0');
  t.equal(site.devices.get(pump)?.firmwareVersion, '2.0.0');
  t.ok(await flash.isWhole(sha256Of(good.image)));
});

for (const [outcome, error] of [
  ['crash', 'it crashed'],
  ['hang', 'it was not healthy'],
] as const) {
  t.test(`a firmware that turns out as "${outcome}" is rolled back and told`, async (t) => {
    const folder = await folderOf(t);
    const link = join(folder, 'tty');
    const lines = [{ device: pump, path: link }];
    const site = await openSerialSite(t, folder, lines, { firmware: [bad(outcome)] });
    const { flash } = await simulated(t, folder, link);
    t.match(await becomes(site, 'rolled_back'), { error, attempt: 1 });
    t.equal(flash.version, '1.0.0');
    t.equal(site.devices.get(pump)?.firmwareVersion, '1.0.0');
  });
}

t.test('an update goes on where it was after the line and the gateway were away', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const lines = [{ device: pump, path: link }];
  const first = await openSerialSite(t, folder, lines, { firmware: [good] });
  const far = await farEnd(t, link);
  const parts: Buffer[] = [];
  const fetch = async (from: typeof far, offset: number) => {
    from.say({ t: 'fetch', job_id: job, offset, length: 20_000 });
    const frame = await from.next('image');
    const data = frame.t === 'image' ? Buffer.from(frame.data, 'base64') : Buffer.alloc(0);
    parts.push(data);
    return offset + data.length;
  };
  await far.hello();
  const size = good.image.length;
  t.match(await far.next('job'), { job_id: job, size, sha256: sha256Of(good.image) });
  far.say({ t: 'job_status', job_id: job, status: 'downloading' });
  t.match(await far.next('ack'), { job_id: job, status: 'downloading' });
  let offset = 0;
  while (offset < size / 2) offset = await fetch(far, offset);
  await far.close();
  await first.close();

  const second = await openSerialSite(t, folder, lines, { firmware: [good] });
  const back = await farEnd(t, link);
  await back.hello();
  t.match(await back.next('job'), { job_id: job }, 'it is told again, as it is not over');
  while (offset < size) offset = await fetch(back, offset);
  t.equal(sha256Of(Buffer.concat(parts)), sha256Of(good.image));
  for (const status of ['verifying', 'installing', 'rebooting'] as const) {
    back.say({ t: 'job_status', job_id: job, status });
    t.match(await back.next('ack'), { job_id: job, status });
  }
  back.say({ t: 'fetch', job_id: job, offset: 0, length: 100 });
  t.match(await back.next('nack'), { job_id: job }, 'not after the restart');
  await back.hello({ boot: 'b2', version: '2.0.0' });
  back.say({ t: 'job_status', job_id: job, status: 'succeeded' });
  await back.next('ack');
  t.match(await execution(second), { status: 'succeeded', attempt: 1, bootBefore: 'b1' });
});

t.test('the hello of the same run proves nothing, whatever version it names', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const lines = [{ device: pump, path: link }];
  const site = await openSerialSite(t, folder, lines, { firmware: [good] });
  const far = await farEnd(t, link);
  await far.hello();
  await far.next('job');
  far.say({ t: 'job_status', job_id: job, status: 'rebooting' });
  await far.next('ack');
  await far.hello({ version: '2.0.0' });
  far.say({ t: 'job_status', job_id: job, status: 'succeeded' });
  await far.next('ack');
  t.match(await execution(site), { status: 'confirming' });
});

t.test('a cancelled update ends with the refusal of what the device asks next', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const lines = [{ device: pump, path: link }];
  const site = await openSerialSite(t, folder, lines, { firmware: [good] });
  const far = await farEnd(t, link);
  await far.hello();
  await far.next('job');
  far.say({ t: 'job_status', job_id: job, status: 'downloading' });
  await far.next('ack');
  site.plan.cancel();
  await becomes(site, 'cancelling');
  far.say({ t: 'fetch', job_id: job, offset: 0, length: 100 });
  t.match(await far.next('nack'), { job_id: job, code: 'RESOURCE_CONFLICT' });
  far.say({ t: 'job_status', job_id: job, status: 'cancelled' });
  t.match(await far.next('ack'), { job_id: job, status: 'cancelled' });
  t.match(await execution(site), { status: 'cancelled' });
});

t.test('an image of another digest is not installed', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const lines = [{ device: pump, path: link }];
  const site = await openSerialSite(t, folder, lines, { firmware: [good] });
  // Changed on the gateway's disk after it was verified.
  await site.damage(good.image, Buffer.from(good.image).fill(0, 100, 200));
  const { flash } = await simulated(t, folder, link);
  t.match(await becomes(site, 'failed'), { error: 'the image has another digest' });
  t.equal(flash.version, '1.0.0');
});

t.test('what no job stands for is refused', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  await openSerialSite(t, folder, [{ device: pump, path: link }], { firmware: [good] });
  const far = await farEnd(t, link);
  await far.hello();
  await far.next('job');
  far.say({ t: 'fetch', job_id: 'other', offset: 0, length: 100 });
  t.match(await far.next('nack'), { job_id: 'other', code: 'RESOURCE_NOT_FOUND' });
  far.say({ t: 'job_status', job_id: 'other', status: 'failed' });
  t.match(await far.next('nack'), { job_id: 'other', status: 'failed' });
  far.say({ t: 'fetch', job_id: job, offset: good.image.length, length: 1 });
  t.match(await far.next('nack'), { job_id: job, code: 'REQUEST_INVALID' });
});

t.test('an offer that the line lost comes again until it is taken up', async (t) => {
  const folder = await folderOf(t);
  const link = join(folder, 'tty');
  const site = await openSerialSite(t, folder, [{ device: pump, path: link }], {
    firmware: [good],
  });
  const far = await farEnd(t, link);
  await far.hello();
  t.match(await far.next('job'), { job_id: job });
  t.match(await far.next('job'), { job_id: job });
  far.say({ t: 'job_status', job_id: job, status: 'downloading' });
  t.match(await far.next('ack'), { job_id: job, status: 'downloading' });
  t.match(await execution(site), { status: 'downloading', attempt: 1 });
});
