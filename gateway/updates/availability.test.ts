import t from 'tap';
import { Availability } from './availability.js';
import { campaignBody, firmwareBody, openTestSite } from './updates-fixture.js';

const there = { isInService: true, isMissing: false };
const missing = { isInService: true, isMissing: true };

t.test('counts who is missing, of the site and of groups, and who is about to be', async (t) => {
  const availability = new Availability();
  for (const device of ['a', 'b', 'c', 'd']) availability.set(device, there);
  availability.configure(
    [
      { group: null, max_unavailable: 2, min_available: null },
      { group: 'pair', max_unavailable: null, min_available: 1 },
      { group: 'gone', max_unavailable: 0, min_available: null },
    ],
    new Map([['pair', new Set(['a', 'b'])]]),
  );
  t.equal(availability.whyNot('a'), undefined);
  const free = availability.reserve('a');
  t.match(availability.whyNot('b'), /1 of the group pair are there, and 1 have to be/);
  t.equal(availability.whyNot('a'), undefined, 'it is missing already');
  availability.set('c', missing);
  t.match(availability.whyNot('d'), /2 of the site are missing, and 2 may be/);
  const before = availability.frees;
  free();
  free();
  t.ok(availability.frees > before, 'who waits may look again');
  t.equal(availability.whyNot('d'), undefined);
  availability.set('c', { ...missing, isInService: false });
  availability.reserve('d');
  t.equal(availability.whyNot('a'), undefined, 'what is out of service is not missed');
});

const budgeted = (max_unavailable: number, changes = {}) =>
  campaignBody({
    policy: {
      ...campaignBody().policy,
      site_concurrency: 10,
      disruption: [{ group: null, max_unavailable, min_available: null }],
    },
    ...changes,
  });

t.test('devices download together and install one by one, across campaigns', async (t) => {
  const site = await openTestSite(t);
  for (const body of [firmwareBody(), firmwareBody('2', 'mega')]) site.firmware.come(body);
  site.plan.set({ c: budgeted(1), m: campaignBody({ firmware: ['mega@2'] }) }, [
    firmwareBody(),
    firmwareBody('2', 'mega'),
  ]);
  const life = await site.start();
  const { updates } = life;
  for (const id of ['a', 'b']) life.devices.connected(id, id, { model: 'pi', boot: '1' });
  for (const id of ['m1', 'm2']) {
    life.devices.connected(id, id, { model: 'mega', door: 'devices' });
  }
  await updates.settled();
  t.same(await site.statuses(), { a: 'offered', b: 'offered' });
  const ofOthers = Object.values(await site.statuses('m'));
  t.same(ofOthers.sort(), ['offered', 'queued'], 'it installs without asking: it counts at once');
  const ask = (id: string) => updates.updated(id, 'c', { status: 'installing', boot_id: '1' });
  t.match(await ask('a'), { accepted: false, code: 423, message: /1 of the site are missing/ });
  const [busy = ''] =
    Object.entries(await site.statuses('m')).find(([, s]) => s === 'offered') ?? [];
  await updates.report(busy, 'm', { door: 'devices', status: 'failed' });
  const answers = await Promise.all([ask('a'), ask('b')]);
  t.same(answers.map(({ accepted }) => accepted).sort(), [false, true], 'one of two at a time');
  await updates.settled();
  t.notOk(Object.values(await site.statuses('m')).includes('offered'));
});

t.test('one that waits for its window keeps no place, and needs one to go on', async (t) => {
  const nights = { name: 'nights', start: '0 22 * * *', minutes: 480, groups: [], devices: [] };
  const window = { ...nights, for: ['install' as const], models: [] };
  const site = await openTestSite(t, { windows: [window] });
  site.clock.set(Date.parse('2026-01-10T12:00Z'));
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody({ policy: { ...campaignBody().policy, site_concurrency: 1 } }) });
  const life = await site.start();
  for (const id of ['a', 'b']) life.devices.connected(id, id, { model: 'pi', boot: '1' });
  await life.updates.settled();
  const ask = (id: string) => life.updates.updated(id, 'c', { status: 'installing', boot_id: '1' });
  t.match(await ask('a'), { code: 423 });
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'verifying', b: 'offered' });
  t.match(await ask('b'), { code: 423 });
  site.clock.advance(Date.parse('2026-01-10T21:30Z') - site.clock.now());
  await life.updates.settled();
  t.match(await ask('b'), { accepted: true });
  t.match(await ask('a'), { code: 423, message: /1 of the campaign at a time/ });
});

t.test('windows are for groups, too', async (t) => {
  const nights = { name: 'nights', start: '0 22 * * *', minutes: 480, models: [], devices: [] };
  const window = { ...nights, for: ['download' as const], groups: ['hall'] };
  const site = await openTestSite(t, { windows: [window] });
  site.clock.set(Date.parse('2026-01-10T12:00Z'));
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() }, undefined, [
    { kind: 'group', id: 'hall', body: { devices: ['a'] } },
  ]);
  const life = await site.start();
  for (const id of ['a', 'b']) life.devices.connected(id, id, { model: 'pi' });
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'queued', b: 'offered' });
});

t.test('the limits hold from the first moment after a restart', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  const disruption = [{ group: null, max_unavailable: 1, min_available: null }];
  const policy = { ...campaignBody().policy, site_concurrency: 10, disruption };
  site.plan.set({ c: campaignBody({ policy }) });
  let life = await site.start();
  const connect = () => {
    for (const id of ['a', 'b']) life.devices.connected(id, 's', { model: 'pi' });
  };
  const say = (status: 'downloading' | 'installing') =>
    Promise.all(['a', 'b'].map((id) => life.updates.updated(id, 'c', { status, boot_id: id })));
  connect();
  await life.updates.settled();
  await say('downloading');
  await life.close();
  life = await site.start();
  connect();
  const answers = await say('installing');
  t.equal(answers.filter(({ accepted }) => accepted).length, 1);
});
