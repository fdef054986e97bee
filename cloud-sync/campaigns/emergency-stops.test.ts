import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';
import { connectSite, type PlanUnderTest } from '../testing/site-stand-in.js';

const stop = (cloud: CloudUnderTest, reason: string, ...sites: string[]) =>
  cloud.call(cloud.campaigns, cloud.campaigns.createEmergencyStop, { sites, reason });
const lift = (cloud: CloudUnderTest, ...sites: string[]) =>
  cloud.call(cloud.campaigns, cloud.campaigns.liftEmergencyStop, { sites, reason: 'it is over' });
const list = async (cloud: CloudUnderTest) =>
  (
    await cloud.call(cloud.campaigns, cloud.campaigns.listEmergencyStops, {
      ...{ pageSize: 0, pageToken: '' },
    })
  ).stops.map(({ name, local }) => `${name}${local ? ' local' : ''}`);
const stopIn = (plan: PlanUnderTest) =>
  plan.get('policy/policy')?.body.emergency_stop as { reason: string; by: string } | undefined;
const isStopped = (reason: string) => (plan: PlanUnderTest) => stopIn(plan)?.reason === reason;
const goesOn = (plan: PlanUnderTest) => stopIn(plan) === undefined;

t.test('stops the fleet or a site in their plans until it is lifted', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a, b] = [await connectSite(t, cloud, 'a'), await connectSite(t, cloud, 'b')];
  await a.plan();
  await stop(cloud, 'recalled');
  t.match(stopIn(await a.planWith(isStopped('recalled'))), { by: 'cloud:admin' });
  t.ok(await b.planWith(isStopped('recalled')));
  t.match((await stop(cloud, 'again')).stops, [{ reason: 'recalled' }], 'the first stands');
  await stop(cloud, 'a fire', 'sites/a');
  t.same(await list(cloud), ['emergencyStops/-', 'emergencyStops/a']);
  t.match((await lift(cloud)).stops, [{ name: 'emergencyStops/-' }]);
  t.ok(await b.planWith(goesOn));
  t.ok(await a.planWith(isStopped('a fire')), 'its own stands');
  await lift(cloud, 'sites/a');
  t.ok(await a.planWith(goesOn));
  t.same((await lift(cloud)).stops, []);
  t.same(await list(cloud), []);
  await t.rejects(stop(cloud, ' '), { code: 'REQUEST_INVALID', message: /reason/ });
  await t.rejects(stop(cloud, 'why', 'sites/none'), { code: 'RESOURCE_NOT_FOUND' });
});

t.test('shows and keeps what was stopped at a site, and by whom', async (t) => {
  const cloud = await cloudUnderTest(t);
  const a = await connectSite(t, cloud, 'a');
  const made = { by: 'cloudia', reason: 'smoke', lifted: false, stopped_at: 5 };
  await a.note({ kind: 'emergency_stop', body: made });
  t.same(await list(cloud), ['emergencyStops/a local']);
  t.same((await lift(cloud, 'sites/a')).stops, [], 'it is lifted there');
  await a.note(
    { kind: 'emergency_stop', body: { ...made, by: 'bob', lifted: true } },
    { kind: 'change_requested', body: { actor: 'bob', method: 'DELETE', path: '/emergency-stop' } },
    {
      kind: 'firmware_refused',
      body: { firmware: 'pi@2.0', code: 'FIRMWARE_ROLLBACK', message: 'an older root' },
    },
  );
  t.same(await list(cloud), []);
  const { entries } = await cloud.call(cloud.audit, cloud.audit.listAuditEntries, {
    ...{ pageSize: 0, pageToken: '', resource: '', site: 'sites/a', action: '' },
    ...{ since: undefined, until: undefined },
  });
  t.match(entries, [
    {
      action: 'emergency_stop.made',
      actor: 'site:cloudia',
      reason: 'smoke',
      time: new Date(1_000),
    },
    { action: 'emergency_stop.lifted', actor: 'site:bob' },
    { action: 'site.change_requested', actor: 'site:bob', details: { method: 'DELETE' } },
    { action: 'firmware.refused', resource: 'firmware/pi@2.0', reason: 'an older root' },
  ]);
});
