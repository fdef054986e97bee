import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { checkCut, outcome, runCampaign } from './campaign-run-fixture.js';
import { campaignBody, firmwareBody, openTestSite } from './updates-fixture.js';

t.test(
  'carries a campaign out by the plan alone, as many devices at a time as it may',
  async (t) => {
    const { site, underWay } = await runCampaign(t);
    t.same(await site.statuses(), outcome);
    t.equal(underWay, 2);
    const journal = await site.journal();
    t.match(
      journal.filter(({ kind }) => String(kind).startsWith('campaign')),
      [
        { kind: 'campaign_targeted', executions: 0 },
        { kind: 'campaign_targeted', executions: 4 },
        { kind: 'campaign_phase', phase: 0, counts: { queued: 4 } },
        { kind: 'campaign_settled', campaign: 'c' },
      ],
    );
  },
);

t.test('comes to the same end when the power is cut', async (t) => {
  // Every commit has its turn in updates.faults.test.ts.
  for (const cut of [
    { at: 3, when: 'after' },
    { at: 12, when: 'before' },
    { at: 30, when: 'after' },
  ] as const) {
    await checkCut(t, cut);
  }
});

t.test('offers nothing before the firmware is here, and nothing to who is away', async (t) => {
  const site = await openTestSite(t);
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  life.devices.learned('a', { model: 'pi' });
  life.devices.connected('b', 's', { model: 'pi' });
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'queued', b: 'queued' });
  t.same(
    site.firmware.needed.map(({ version }) => version),
    ['2'],
  );
  site.firmware.come(firmwareBody());
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'queued', b: 'offered' });
  life.devices.connected('a', 's2');
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'offered', b: 'offered' });
});

t.test('a device that joins later joins in, also a campaign that was settled', async (t) => {
  const site = await openTestSite(t);
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  await life.updates.settled();
  t.match((await site.journal()).at(-1), { kind: 'campaign_settled' });
  life.devices.connected('late', 's', { model: 'pi' });
  life.devices.connected('other', 's', { model: 'mega' });
  life.devices.connected('there', 's', { model: 'pi', firmwareVersion: '2' });
  await life.updates.settled();
  t.same(await site.statuses(), { late: 'queued' });
  // What the device itself is comes a little later, or before.
  const told = (await site.journal()).filter(({ kind }) => kind !== 'device');
  t.match(told.at(-1), { kind: 'campaign_targeted', executions: 1 });
});

t.test('the newer campaign gets the device; what has begun is left to end', async (t) => {
  const site = await openTestSite(t);
  const three = firmwareBody('3');
  for (const body of [firmwareBody(), three]) site.firmware.come(body);
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  for (const device of ['a', 'b']) life.devices.connected(device, 's', { model: 'pi' });
  await life.updates.settled();
  await life.updates.updated('a', 'c', { status: 'downloading', boot_id: 'x' });
  site.plan.set({ c: campaignBody(), d: campaignBody({ started_at: 2_000, firmware: ['pi@3'] }) }, [
    firmwareBody(),
    three,
  ]);
  await life.updates.settled();
  t.same(await site.statuses('c'), { a: 'downloading', b: 'superseded' });
  t.same(await site.statuses('d'), { a: 'queued', b: 'offered' });
  await life.updates.updated('a', 'c', { status: 'rolled_back' });
  await life.updates.settled();
  t.same(await site.statuses('d'), { a: 'offered', b: 'offered' });
});

t.test(
  'a cancelled campaign, and one that is gone from the plan, end where they can',
  async (t) => {
    const site = await openTestSite(t);
    site.firmware.come(firmwareBody());
    site.plan.set({ c: campaignBody() });
    const told: unknown[] = [];
    const life = await site.start(({ payload }) =>
      told.push(JSON.parse(Buffer.from(payload).toString())),
    );
    for (const device of ['a', 'b', 'z']) life.devices.connected(device, 's', { model: 'pi' });
    await life.updates.settled();
    await life.updates.updated('a', 'c', { status: 'installing', boot_id: 'x' });
    site.plan.set({ c: campaignBody({ state: 'cancelling' }) });
    await life.updates.settled();
    t.same(await site.statuses(), { a: 'cancelling', b: 'cancelled', z: 'cancelled' });
    await life.outbox.idle();
    t.match(told.at(-1), { execution: null });
    t.match(
      told.find(
        (one) => (one as { execution?: { status: string } }).execution?.status === 'cancelling',
      ),
      {
        execution: { job_id: 'c' },
      },
    );
    t.match(await life.updates.updated('a', 'c', { status: 'cancelled' }), { accepted: true });
    site.plan.set({});
    await life.updates.settled();
    t.same(await site.statuses(), { a: 'cancelled', b: 'cancelled', z: 'cancelled' });
  },
);

t.test('an attempt that fails after the end of its campaign is the last one', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi' });
  await life.updates.settled();
  await life.updates.updated('a', 'c', { status: 'rebooting', boot_id: 'x' });
  site.plan.set({ c: campaignBody({ state: 'cancelling' }) });
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'rebooting' }, 'there is no way back');
  await life.updates.updated('a', 'c', { status: 'failed' });
  await life.updates.settled();
  site.clock.advance(3_600_000);
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'cancelled' });
  t.match((await site.journal()).at(-1), { kind: 'campaign_settled' });
});

t.test('time limits hold by a clock that steps of the wall clock do not move', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi' });
  await life.updates.settled();
  await life.updates.updated('a', 'c', { status: 'downloading', boot_id: 'x' });
  site.clock.set(site.clock.now() + 100 * 86_400_000);
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'downloading' });
  site.clock.advance(3_600_000);
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'queued' });
  site.clock.advance(10_000);
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'offered' });
});

t.test('what was kept by a wrong time is right after the next start', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() });
  const first = await site.start();
  for (const device of ['a', 'b']) first.devices.connected(device, device, { model: 'pi' });
  await first.updates.settled();
  await first.updates.updated('a', 'c', { status: 'downloading', boot_id: 'x' });
  await first.updates.updated('b', 'c', { status: 'failed' });
  // It was in the past all the time.
  const step = 300 * 86_400_000;
  site.clock.set(site.clock.now() + step);
  await first.updates.correct({ step });
  await first.updates.updated('a', 'c', { status: 'verifying' });
  await first.close();
  const second = await site.start();
  await second.updates.settled();
  t.match(await second.updates.executions('c'), [
    ['a', { status: 'verifying', siteFailures: 0 }],
    ['b', { status: 'queued' }],
  ]);
  const entries = await site.store.read.all<{ at: number }>(
    "SELECT at FROM journal_state WHERE kind = 'execution' ORDER BY seq DESC LIMIT 1",
  );
  t.equal(entries[0]?.at, site.clock.now(), 'and told with the time that is right');
});

t.test('no device waits for a time that is a year away', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() });
  const first = await site.start();
  first.devices.connected('a', 's', { model: 'pi' });
  await first.updates.settled();
  await first.updates.updated('a', 'c', { status: 'failed' });
  await first.close();
  site.clock.set(site.clock.now() - 365 * 86_400_000);
  const second = await site.start();
  second.devices.connected('a', 't', { model: 'pi' });
  site.clock.advance(600_000);
  await second.updates.settled();
  t.same(await site.statuses(), { a: 'offered' });
});

t.test('forgets a campaign that is settled, old and named by no plan', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody(), d: campaignBody({ started_at: 2_000 }) });
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi', firmwareVersion: '2' });
  life.devices.connected('b', 's', { model: 'pi' });
  await life.updates.settled();
  t.same(await site.statuses('c'), { b: 'superseded' });
  t.same(await site.statuses('d'), { b: 'offered' });
  site.clock.advance(1_000);
  const ids = () => life.updates.campaigns().map(({ id }) => id);
  await life.updates.forget(site.clock.now());
  t.same(ids(), ['c', 'd'], 'the plan names both');
  site.plan.set({});
  await life.updates.settled();
  await life.updates.forget(site.clock.now() - 2_000);
  t.same(ids(), ['c', 'd'], 'neither is old');
  await life.updates.forget(site.clock.now());
  t.same(ids(), ['d'], 'the other was settled only now');
  t.same(await site.statuses('c'), {});
  site.clock.advance(1_000);
  await life.updates.forget(site.clock.now());
  t.same(ids(), []);
  await life.close();
  const second = await site.start();
  t.same(second.updates.campaigns(), []);
});

t.test('a timer wakes it when a time comes, without any event', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  const policy = { ...campaignBody().policy, offer_timeout_ms: 30, retries: 0 };
  site.plan.set({ c: campaignBody({ policy }) });
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi' });
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'offered' });
  site.clock.advance(30);
  while ((await site.statuses()).a !== 'failed') await delay(5);
  t.pass();
});

t.test('a plan that has run out starts nothing new, and goes on with what began', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi' });
  await life.updates.settled();
  site.plan.planState = 'expired';
  life.devices.connected('b', 's', { model: 'pi' });
  await life.updates.settled();
  t.same(await site.statuses(), { a: 'offered', b: 'queued' });
  t.match(await life.updates.updated('a', 'c', { status: 'downloading' }), { accepted: true });
});

t.test('firmware that is lost at the gateway costs the device no attempt', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi' });
  await life.updates.settled();
  site.firmware.lose(firmwareBody());
  while ((await site.statuses()).a !== 'queued') await delay(5);
  site.firmware.come(firmwareBody());
  site.clock.advance(10_000);
  await life.updates.settled();
  t.match((await site.journal()).at(-1), { kind: 'execution', status: 'offered', attempt: 1 });
});

t.test('answers a device that asks, and refuses what is not its own', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ c: campaignBody() });
  const life = await site.start();
  life.devices.connected('a', 's', { model: 'pi' });
  await life.updates.settled();
  const sha256 = firmwareBody().sha256;
  t.match(await life.updates.asked('a', null), {
    accepted: true,
    execution: {
      job_id: 'c',
      status: 'offered',
      document: { operation: 'update', version: '2', url: `/firmware/sha256/${sha256}`, sha256 },
    },
  });
  t.match(await life.updates.asked('a', 'c'), { accepted: true });
  t.match(await life.updates.asked('b', 'c'), { accepted: false, code: 404 });
  t.match(await life.updates.asked('b', null), { accepted: true, execution: null });
  t.match(await life.updates.updated('b', 'c', { status: 'downloading' }), { code: 404 });
  t.match(await life.updates.updated('a', 'c', { status: 'downloading', expected_version: 99 }), {
    accepted: false,
    code: 409,
    message: /version/,
  });
});

t.test('starts on a full disk, and then charges no device for the time away', async (t) => {
  const site = await openTestSite(t);
  site.plan.set({ c: campaignBody() });
  site.firmware.come(firmwareBody());
  const first = await site.start();
  first.devices.connected('a', 's', { model: 'pi' });
  await first.updates.settled();
  t.same(await site.statuses(), { a: 'offered' });
  await first.close();
  site.clock.advance(365 * 86_400_000);
  site.disk.isFull = true;
  const second = await site.start();
  await second.updates.settled();
  site.disk.isFull = false;
  await second.updates.settled();
  const [execution] = await second.updates.executions('c');
  t.match(execution, ['a', { status: 'offered', attempt: 1, siteFailures: 1 }]);
});
