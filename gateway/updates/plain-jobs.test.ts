import t from 'tap';
import { campaignBody, firmwareBody, openTestSite } from './updates-fixture.js';

const document = { operation: 'blink', times: 3 };
const job = (changes: Parameters<typeof campaignBody>[0] = {}) =>
  campaignBody({ firmware: [], document, ...changes });

t.test('a plain job runs on the same machine, and needs no proof of a boot', async (t) => {
  const site = await openTestSite(t);
  site.plan.set({ j: job() }, []);
  const life = await site.start();
  const { updates } = life;
  for (const [id, model] of [
    ['a', 'pi'],
    ['b', 'mega'],
    ['c', 'pi'],
  ] as const) {
    life.devices.connected(id, id, { model, boot: '1' });
  }
  await updates.settled();
  t.same(Object.values(await site.statuses('j')).sort(), ['offered', 'offered', 'queued']);
  t.match(await updates.asked('a', null), { execution: { job_id: 'j', document } });
  t.match(
    await updates.report('a', 'j', {
      door: 'native',
      status: 'in_progress',
      details: { step: 'first' },
      stepTimeoutMs: 5_000,
    }),
    { accepted: true, view: { image: null, details: { step: 'first' }, startedAt: Number } },
  );
  site.clock.advance(5_000);
  await updates.settled();
  t.match((await updates.executionOf('a', 'j'))?.execution, {
    status: 'queued',
    error: 'in_progress took too long',
    details: { step: 'first' },
  });
  await updates.report('b', 'j', { door: 'native', status: 'succeeded', details: { led: 'on' } });
  t.match(await updates.executionOf('b', 'j'), {
    execution: { status: 'succeeded' },
    details: { led: 'on' },
  });
  t.match(await updates.report('b', 'j', { door: 'native', status: 'failed' }), { reason: 'over' });
  site.clock.advance(20_000);
  await updates.settled();
  await updates.updated('c', 'j', { status: 'rejected' });
  t.equal((await site.statuses('j')).c, 'queued', 'it has one more attempt');
});

t.test('jobs wait beside each other, and an update beside none that has begun', async (t) => {
  const site = await openTestSite(t);
  site.firmware.come(firmwareBody());
  site.plan.set({ j: job(), k: job() }, []);
  const life = await site.start();
  life.devices.connected('a', 'a', { model: 'pi', boot: '1' });
  await life.updates.settled();
  t.same(
    life.updates.executionsOf('a').map(({ campaign }) => campaign.id),
    ['j', 'k'],
  );
  await life.updates.report('a', 'j', { door: 'native', status: 'in_progress' });
  site.plan.set({ j: job(), k: job(), c: campaignBody({ started_at: 9_000 }) });
  await life.updates.settled();
  t.same(await site.statuses('c'), { a: 'queued' });
  t.match(life.updates.controls.whyWaits('c', 'a'), /waits for the end of j/);
  await life.updates.report('a', 'j', { door: 'native', status: 'succeeded' });
  await life.updates.settled();
  t.same(await site.statuses('c'), { a: 'offered' });
  t.same(await site.statuses('k'), { a: 'offered' }, 'no update takes the place of a job');
});

t.test('one campaign has an image for each model', async (t) => {
  const site = await openTestSite(t);
  const images = [firmwareBody('2'), firmwareBody('7', 'mega')];
  for (const body of images) site.firmware.come(body);
  site.plan.set({ c: campaignBody({ firmware: ['pi@2', 'mega@7'] }) }, images);
  const life = await site.start();
  life.devices.connected('a', 'a', { model: 'pi' });
  life.devices.connected('b', 'b', { model: 'mega' });
  life.devices.connected('x', 'x', { model: 'other' });
  await life.updates.settled();
  const offered = ['a', 'b'].map((id) => life.updates.executionsOf(id)[0]);
  t.match(offered, [{ image: { model: 'pi' } }, { image: { model: 'mega', version: '7' } }]);
  t.same(await site.statuses(), { a: 'offered', b: 'offered' });
});

t.test('a device that turns out to speak another door is told there', async (t) => {
  const site = await openTestSite(t);
  site.plan.set({ j: job() }, []);
  const told: string[] = [];
  const life = await site.start(undefined, undefined, ({ updates }) => {
    updates.tellThrough('aws', async (device, campaign) => {
      told.push(`${device} ${campaign}`);
    });
  });
  life.devices.connected('a', 'a', { model: 'pi' });
  await life.updates.settled();
  await life.updates.heard('a', 'aws');
  await life.outbox.idle();
  t.equal(told.at(-1), 'a j', 'and perhaps of the offer before, which was due as well');
  t.match(life.updates.executionsOf('a'), [{ execution: { door: 'aws', status: 'offered' } }]);
});
