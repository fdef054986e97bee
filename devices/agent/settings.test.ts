import t from 'tap';
import { silentLog as log } from './log.js';
import { openSettings } from './settings.js';
import { makeDirectory } from './update/update-fixture.js';

t.test('takes changes of a shadow whose versions began anew', async (t) => {
  const { path: dataDir, remove } = await makeDirectory();
  t.teardown(remove);
  const settings = await openSettings({ log, apply: () => undefined }, { dataDir });
  await settings.replace({ light: 'on' }, 50);
  // The gateway lost its database, and has the same state from the control plane.
  await settings.replace({ light: 'on' }, 3);
  await settings.merge({ light: 'off' }, 4);
  t.match(settings.reported, { light: 'off' });
  await settings.merge({ light: 'red' }, 3);
  t.match(settings.reported, { light: 'off' }, 'an older change does nothing');
});
