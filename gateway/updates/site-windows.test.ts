import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import { type MaintenanceWindow, SiteWindows, type SiteWindowsOptions } from './site-windows.js';

const at = (text: string): number => Date.parse(text);
const window = (changes: Partial<MaintenanceWindow> = {}): MaintenanceWindow => ({
  name: 'nights',
  start: '0 22 * * *',
  minutes: 480,
  for: ['download', 'install'],
  groups: [],
  models: [],
  devices: [],
  ...changes,
});
const windowsAt = (
  time: string,
  windows: MaintenanceWindow[],
  options: Partial<SiteWindowsOptions> = {},
) => {
  const clock = new ManualClock(at(time));
  const site = new SiteWindows(
    { clock },
    { windows, timeZone: 'Europe/Berlin', whenTimeUnknown: 'closed', ...options },
  );
  return { clock, site };
};
const pump = { device: 'pump-1', model: 'pump' };

t.test('without windows everything is free', async (t) => {
  const { site } = windowsAt('2026-01-10T12:00Z', []);
  t.equal(site.closed('install', pump), undefined);
  t.same(site.states(), []);
  t.notOk(site.isTimeMissing);
});

t.test('says for which window a device waits, and opens and closes with it', async (t) => {
  const { site, clock } = windowsAt('2026-01-10T12:00Z', [window()]);
  t.match(site.closed('download', pump), {
    opening: { opensAt: at('2026-01-10T21:00Z') },
    reason: 'waits for the window nights, which opens at Sat 2026-01-10 22:00 (Europe/Berlin)',
  });
  clock.set(at('2026-01-10T21:00Z'));
  t.equal(site.closed('download', pump), undefined);
  t.match(site.states(), [{ name: 'nights', isOpen: true, closesAt: at('2026-01-11T05:00Z') }]);
  clock.set(at('2026-01-11T05:00Z'));
  t.ok(site.closed('download', pump));
  clock.set(at('2026-01-10T22:00Z'));
  t.equal(site.closed('download', pump), undefined, 'after a step back too');
});

t.test('the night of the step in spring and the one in autumn', async (t) => {
  const { site, clock } = windowsAt('2026-03-29T00:59Z', [
    window({ start: '30 2 * * *', minutes: 60 }),
  ]);
  const isOpen = (time: string): boolean => {
    clock.set(at(time));
    return site.closed('install', pump) === undefined;
  };
  t.notOk(isOpen('2026-03-29T00:59Z'));
  t.ok(isOpen('2026-03-29T01:00Z'), '02:30 does not exist: it opens at 03:00');
  t.ok(isOpen('2026-03-29T01:59Z'));
  t.notOk(isOpen('2026-03-29T02:00Z'));
  t.ok(isOpen('2026-10-25T00:30Z'), 'the first 02:30');
  t.notOk(isOpen('2026-10-25T01:30Z'), 'the second is not another');
});

t.test('counts for the models and devices it names, and leaves the others free', async (t) => {
  const { site } = windowsAt('2026-01-10T12:00Z', [
    window({ models: ['pump'], for: ['install'] }),
    window({ name: 'one', devices: ['valve-7'], start: '0 12 * * *', minutes: 30 }),
  ]);
  t.match(site.closed('install', pump)?.reason, /nights/);
  t.equal(site.closed('download', pump), undefined, 'it is for installing alone');
  t.equal(site.closed('install', { device: 'valve-6', model: 'valve' }), undefined);
  t.match(site.closed('install', { device: 'valve-7', model: 'valve' })?.reason, /window one/);
  t.equal(site.closed('install', { device: 'x', model: null }), undefined);
});

t.test('of two windows for a device, either will do', async (t) => {
  const { site } = windowsAt('2026-01-10T12:00Z', [
    window(),
    window({ name: 'noon', start: '0 13 * * *', minutes: 60, models: ['pump'] }),
  ]);
  t.equal(site.closed('install', pump), undefined);
  t.match(site.closed('install', { device: 'valve-7', model: 'valve' })?.reason, /nights/);
});

t.test(
  'while the time is not known windows are closed, or open where the site says so',
  async (t) => {
    for (const whenTimeUnknown of ['closed', 'open'] as const) {
      const { site, clock } = windowsAt('2026-01-10T23:00Z', [window()], { whenTimeUnknown });
      clock.trusted = false;
      t.ok(site.isTimeMissing);
      t.equal(site.closed('install', pump) === undefined, whenTimeUnknown === 'open');
      t.match(site.states(), [{ isOpen: whenTimeUnknown === 'open', opensAt: null }]);
      clock.trusted = true;
      t.equal(site.closed('install', pump), undefined, 'it is night');
    }
  },
);
