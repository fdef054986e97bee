import t, { type Test } from 'tap';
import type { Door } from '../devices/device-events.js';
import type { MaintenanceWindow } from './site-windows.js';
import { campaignBody, firmwareBody, openTestSite } from './updates-fixture.js';

const at = (text: string): number => Date.parse(text);
const nights: MaintenanceWindow = {
  name: 'nights',
  start: '0 22 * * *',
  minutes: 480,
  for: ['download'],
  groups: [],
  models: [],
  devices: [],
};
const early: MaintenanceWindow = {
  ...nights,
  name: 'early',
  start: '30 2 * * *',
  minutes: 60,
  for: ['install'],
};

/** A site whose clock stands at a time, and a device of one door with a campaign for it. */
const begin = async (
  t: Test,
  time: string,
  windows: readonly MaintenanceWindow[],
  door: Door = 'native',
) => {
  const site = await openTestSite(t, { windows });
  site.clock.set(at(time));
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi', door });
  await life.updates.settled();
  const status = async () => (await site.statuses()).a;
  /** The clock moves on, and with it the site. */
  const moveTo = async (to: string): Promise<void> => {
    site.clock.advance(at(to) - site.clock.now());
    await life.updates.settled();
  };
  return { site, life, status, moveTo, updates: life.updates };
};

t.test('offers in the window, and not before', async (t) => {
  const { status, moveTo, updates } = await begin(t, '2026-01-10T20:00Z', [nights]);
  t.equal(await status(), 'queued');
  t.match(updates.controls.whyWaits('c', 'a'), /nights, which opens at Sat 2026-01-10 22:00/);
  await moveTo('2026-01-10T20:59Z');
  t.equal(await status(), 'queued');
  await moveTo('2026-01-10T21:00Z');
  t.equal(await status(), 'offered');
  t.equal(updates.controls.whyWaits('c', 'a'), undefined);
});

t.test('lets install in the window, and what has begun goes on after it', async (t) => {
  // The night on which 02:30 does not exist: the window opens at 03:00, 01:00Z.
  const { status, moveTo, updates } = await begin(t, '2026-03-28T21:30Z', [nights, early]);
  t.equal(await status(), 'offered');
  const say = (s: 'downloading' | 'installing' | 'rebooting') =>
    updates.updated('a', 'c', { status: s, boot_id: 'b1', version: '1' });
  t.match(await say('downloading'), { accepted: true });
  t.match(await say('installing'), {
    accepted: false,
    code: 423,
    message: /early, which opens at Sun 2026-03-29 03:00/,
  });
  t.match(await say('rebooting'), { accepted: false, code: 423 }, 'nor by another word');
  await moveTo('2026-03-29T00:59Z');
  t.match(await say('installing'), { code: 423 });
  t.equal(await status(), 'verifying', 'hours later it still waits');
  await moveTo('2026-03-29T01:30Z');
  t.match(await say('installing'), { accepted: true });
  await moveTo('2026-03-29T02:01Z');
  t.match(await say('rebooting'), { accepted: true }, 'the window is over, the work is not');
  t.equal(await status(), 'rebooting');
});

t.test('one that missed its window gets the next, and none is lost for it', async (t) => {
  const { status, moveTo, updates } = await begin(t, '2026-01-10T21:30Z', [early]);
  const ask = () => updates.updated('a', 'c', { status: 'installing', boot_id: 'b1' });
  t.match(await ask(), { code: 423 });
  // Off all through the window: its attempt runs out, and it is offered again.
  await moveTo('2026-01-11T12:00Z');
  t.equal(await status(), 'queued');
  await moveTo('2026-01-11T12:01Z');
  t.equal(await status(), 'offered');
  t.match(await ask(), { code: 423, message: /Mon 2026-01-12 02:30/ });
});

t.test('a device of the older set, which asks nobody, is offered when both are open', async (t) => {
  const { status, moveTo, updates } = await begin(
    t,
    '2026-01-10T21:30Z',
    [nights, early],
    'devices',
  );
  t.equal(await status(), 'queued');
  t.match(updates.controls.whyWaits('c', 'a'), /early/);
  await moveTo('2026-01-11T01:30Z');
  t.equal(await status(), 'offered');
});

t.test('while nobody knows the time nothing begins, and it does once it is known', async (t) => {
  const { site, life, status, updates } = await begin(t, '2026-01-10T21:30Z', [early]);
  t.match(await updates.updated('a', 'c', { status: 'downloading', boot_id: 'b1' }), {
    accepted: true,
  });
  site.clock.trusted = false;
  const ask = () => updates.updated('a', 'c', { status: 'installing', boot_id: 'b1' });
  t.match(await ask(), { code: 423, message: /time is known/ });
  t.equal(await status(), 'verifying');
  site.clock.set(at('2026-01-11T01:45Z'));
  site.clock.trusted = true;
  await life.updates.settled();
  t.match(await ask(), { accepted: true });
});
