import t from 'tap';
import { campaignOf } from './campaign-spec.js';
import { targetDevices } from './target-devices.js';

t.test('takes devices by their ids, or as lists show them', async (t) => {
  t.same(targetDevices({}), { sites: [], devices: [] });
  t.same(targetDevices({ sites: ['north', 'south'], devices: ['pump-1'] }), {
    sites: ['north', 'south'],
    devices: ['pump-1'],
  });
  t.same(targetDevices({ devices: ['north/pump-1', 'north/pump-2'] }), {
    sites: ['north'],
    devices: ['pump-1', 'pump-2'],
  });
  t.same(targetDevices({ sites: ['north'], devices: ['north/pump-1'] }).sites, ['north']);
  t.same(targetDevices({ devices: ['north/pump-1', 'south/pump-1'] }), {
    sites: ['north', 'south'],
    devices: ['pump-1'],
  });
  t.match(campaignOf('pumps', { devices: ['north/pump-1'] }), {
    target: { sites: ['sites/north'], deviceIds: ['pump-1'] },
  });
});

t.test('refuses what would mean more devices than were named', async (t) => {
  for (const wish of [
    { devices: ['north/pump-1', 'south/pump-2'] },
    { devices: ['north/pump-1', 'pump-2'] },
    { sites: ['south'], devices: ['north/pump-1'] },
    { devices: ['a/b/c'] },
  ]) {
    t.throws(() => targetDevices(wish), { code: 'REQUEST_INVALID' }, wish.devices.join());
  }
});
