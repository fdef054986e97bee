import t, { type Test } from 'tap';
import { silentLog as log } from '../log.js';
import { makeDirectory } from '../update/update-fixture.js';
import { openAttachedRecord } from './attached-record.js';
import { AttachedSettings } from './attached-settings.js';

const setUp = async (t: Test) => {
  const directory = await makeDirectory();
  t.teardown(directory.remove);
  let changes = 0;
  const open = async () =>
    new AttachedSettings({
      record: await openAttachedRecord(directory.path, log),
      changed: () => {
        changes += 1;
      },
    });
  return { open, changes: () => changes };
};

t.test('says of what is desired only what is not reported yet', async (t) => {
  const { open } = await setUp(t);
  const settings = await open();
  await settings.replace({ pump: { on: true, speed: 3 }, mode: 'eco', list: [1, 2] });
  await settings.take({ pump: { on: true }, list: [1, 2] });
  t.same(settings.delta.state, { pump: { speed: 3 }, mode: 'eco' });
  await settings.take({ pump: { speed: 3 }, mode: 'eco', extra: 1 });
  t.equal(settings.delta.state, undefined);
  await settings.take({ mode: null });
  t.same(settings.delta.state, { mode: 'eco' });
  t.same(settings.reported, { pump: { on: true, speed: 3 }, list: [1, 2], extra: 1 });
});

t.test('counts the changes itself, and only those', async (t) => {
  const { open, changes } = await setUp(t);
  const settings = await open();
  await settings.replace({ mode: 'eco' });
  await settings.replace({ mode: 'eco' });
  await settings.merge({ mode: 'boost' });
  t.same(settings.desired, { state: { mode: 'boost' }, version: 2 });
  t.equal(changes(), 2);
  const again = await open();
  t.same(again.desired, { state: { mode: 'boost' }, version: 2 }, 'over restarts');
});

t.test('keeps from it what is for an agent, and explains that', async (t) => {
  const { open } = await setUp(t);
  const settings = await open();
  await settings.replace({ mode: 'eco', agent: { health_interval_s: 5 } });
  t.same(settings.desired.state, { mode: 'eco' });
  t.same(settings.delta.state, { mode: 'eco' });
  t.match(settings.reported, { agent_refused: { health_interval_s: /microcontroller/ } });
});

t.test('refuses to report more than a shadow holds', async (t) => {
  const { open } = await setUp(t);
  const settings = await open();
  await settings.take({ a: 'x'.repeat(5_000) });
  await t.rejects(settings.take({ b: 'x'.repeat(200_000) }), { code: 'REQUEST_TOO_LARGE' });
  t.same(Object.keys(settings.reported), ['a']);
});
