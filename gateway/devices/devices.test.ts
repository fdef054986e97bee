import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { siteMigrations } from '../store/site-migrations.js';
import { siteStore } from '../store/site-store.js';
import { openDevices } from './devices.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const lane = { appended: () => undefined };

const openSite = async (t: Test) => {
  const folder = await mkdtemp(join(tmpdir(), 'devices-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const disk = { isFull: false };
  const opened = siteStore({
    store,
    outbox: { kick: () => undefined },
    lanes: { audit: lane, state: lane },
  });
  const site: typeof opened = {
    ...opened,
    commit: async (write) => {
      if (disk.isFull) throw new HoldfastError('STORE_FULL', 'full');
      await opened.commit(write);
    },
  };
  const clock = new ManualClock();
  const open = async () => {
    const devices = await openDevices({ site, clock, log }, { writeAfterMs: 60_000 });
    t.teardown(() => devices.close());
    return devices;
  };
  const journal = async (name = 'state') =>
    (await store.read.all<{ body: string }>(`SELECT body FROM journal_${name} ORDER BY seq`)).map(
      ({ body }) => JSON.parse(body) as Record<string, unknown>,
    );
  return { clock, disk, open, journal };
};

t.test('many messages of a device are one entry, with what it is in the end', async (t) => {
  const { open, journal } = await openSite(t);
  const devices = await open();
  devices.connected('pump', 's1');
  devices.learned('pump', { model: 'p', firmwareVersion: '1' });
  for (let i = 0; i < 100; i += 1) devices.seen('pump');
  devices.learned('pump', { firmwareVersion: '2' });
  await devices.flush();
  t.match(await journal(), [
    { device: 'pump', online: true, model: 'p', firmware_version: '2', door: 'native' },
  ]);
  for (let i = 0; i < 100; i += 1) devices.seen('pump');
  await devices.flush();
  t.equal((await journal()).length, 1, 'signs of life are no news');
});

t.test('a device is online as long as one of its connections is', async (t) => {
  const { open } = await openSite(t);
  const devices = await open();
  devices.connected('pump', 's1');
  devices.connected('pump', 's2');
  devices.disconnected('pump', 's2');
  t.equal(devices.get('pump')?.session, 's1');
  devices.disconnected('pump', 's2');
  t.same(devices.count(), { total: 1, online: 1 });
  devices.disconnected('pump', 's1');
  t.same(devices.count(), { total: 1, online: 0 });
});

t.test('nobody is online after a restart, and everything else is as it was', async (t) => {
  const { open, clock } = await openSite(t);
  const before = await open();
  before.connected('pump', 's1', {
    ...{ model: 'p', firmwareVersion: '1', hardware: 'b2', boot: 'b' },
  });
  await before.flush();
  before.learned('pump', { hardware: 'b3' });
  await before.flush();
  const devices = await open();
  t.match(devices.get('pump'), {
    model: 'p',
    firmwareVersion: '1',
    hardware: 'b3',
    boot: 'b',
    session: null,
    lastSeen: clock.now(),
  });
});

t.test('listeners hear of changes, and of nothing else', async (t) => {
  const { open } = await openSite(t);
  const devices = await open();
  const heard: (string | null)[] = [];
  const stop = devices.onChange(({ device }) => void heard.push(device.firmwareVersion));
  devices.connected('pump', 's1', { firmwareVersion: '1' });
  devices.learned('pump', { firmwareVersion: '1' });
  devices.seen('pump');
  devices.learned('pump', { firmwareVersion: '2' });
  stop();
  devices.learned('pump', { firmwareVersion: '3' });
  t.same(heard, ['1', '2']);
});

t.test('the gateway vouches for a serial device once', async (t) => {
  const { open, journal } = await openSite(t);
  const devices = await open();
  const vouched = { device: 'meter', model: 'm', serialNo: '7', door: 'serial' } as const;
  await devices.vouch(vouched);
  await devices.vouch(vouched);
  t.match(await journal('audit'), [
    { device: 'meter', from: null, to: 'provisioning' },
    { device: 'meter', door: 'serial', certificate_serial: null },
  ]);
});

t.test('what has to be on disk is, or whoever waits hears that it is not', async (t) => {
  const { disk, open, journal } = await openSite(t);
  const devices = await open();
  devices.learned('pump', { firmwareVersion: '2' });
  disk.isFull = true;
  await t.rejects(devices.stored('pump'), { code: 'STORE_FULL' });
  await devices.flush();
  await t.rejects(
    devices.stored('pump'),
    { code: 'STORE_FULL' },
    'a failed round is not forgotten',
  );
  t.same(await journal(), []);
  disk.isFull = false;
  await devices.stored('pump');
  t.match(await journal(), [{ device: 'pump', firmware_version: '2' }]);
  await devices.stored('pump');
  await devices.flush();
  t.equal((await journal()).length, 1, 'once');
});
