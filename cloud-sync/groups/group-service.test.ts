import { Campaign, CampaignTarget } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { Group } from '@holdfast/protos/gen/holdfast/v1/groups';
import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';
import { connectSite, type PlanUnderTest } from '../testing/site-stand-in.js';
import { uploadImage } from '../testing/upload-image.js';

const device = (id: string) => ({
  kind: 'device',
  body: {
    ...{ device: id, online: true, last_seen: 1, firmware_version: '1.0', model: 'pi' },
    door: 'native',
  },
});

const label = async (cloud: CloudUnderTest, name: string, labels: Record<string, string>) => {
  const before = await cloud.call(cloud.devices, cloud.devices.getDevice, { name });
  await cloud.call(cloud.devices, cloud.devices.updateDevice, {
    ...{ device: { ...before, labels }, updateMask: ['labels'] },
  });
};
const create = (
  cloud: CloudUnderTest,
  groupId: string,
  { selector = {}, devices = [] }: { selector?: Record<string, string>; devices?: string[] } = {},
) =>
  cloud.call(cloud.groups, cloud.groups.createGroup, {
    ...{ groupId, group: { ...Group.fromPartial({}), selector }, devices },
  });
const change = (cloud: CloudUnderTest, group: string, set: { add?: string[]; remove?: string[] }) =>
  cloud.call(cloud.groups, cloud.groups.changeGroupMembers, {
    ...{ name: `groups/${group}`, add: [], remove: [] },
    ...set,
  });
const members = async (cloud: CloudUnderTest, group: string) =>
  (
    await cloud.call(cloud.groups, cloud.groups.listGroupMembers, {
      ...{ parent: `groups/${group}`, pageSize: 0, pageToken: '' },
    })
  ).devices;
const start = async (cloud: CloudUnderTest, id: string, target: Partial<CampaignTarget>) => {
  await cloud.call(cloud.campaigns, cloud.campaigns.createCampaign, {
    campaignId: id,
    campaign: {
      ...Campaign.fromPartial({ images: ['firmware/pi@2.0'] }),
      target: { ...CampaignTarget.fromPartial({}), ...target },
    },
  });
  return cloud.call(cloud.campaigns, cloud.campaigns.startCampaign, {
    ...{ name: `campaigns/${id}`, etag: '' },
  });
};
const bodyOf = (plan: PlanUnderTest, id: string) => plan.get(id)?.body;

t.test('a group by labels has whoever has them, also in the plan of its site', async (t) => {
  const cloud = await cloudUnderTest(t);
  const a = await connectSite(t, cloud, 'a');
  await a.report(device('d1'), device('d2'));
  await label(cloud, 'sites/a/devices/d1', { ring: 'early' });
  t.match(await create(cloud, 'early', { selector: { ring: 'early' } }), {
    ...{ memberCount: 1n, siteCount: 1 },
  });
  const first = await a.planWith((plan) => plan.has('group/early'));
  t.same(bodyOf(first, 'group/early'), { devices: ['d1'] });
  t.match(bodyOf(first, 'device/d1'), { labels: { ring: 'early' } });
  await label(cloud, 'sites/a/devices/d2', { ring: 'early', floor: '3' });
  t.same(await members(cloud, 'early'), ['sites/a/devices/d1', 'sites/a/devices/d2']);
  await label(cloud, 'sites/a/devices/d1', { ring: 'late' });
  const both = await a.planWith(
    (plan) => JSON.stringify(bodyOf(plan, 'group/early')?.devices) === '["d2"]',
  );
  t.same(bodyOf(both, 'group/early'), { devices: ['d2'] });
  await t.rejects(change(cloud, 'early', { add: ['sites/a/devices/d1'] }), {
    ...{ code: 'RESOURCE_STATE_WRONG' },
  });
  const chosen = { ...Group.fromPartial({ name: 'groups/early' }), selector: { ring: 'late' } };
  t.match(
    await cloud.call(cloud.groups, cloud.groups.updateGroup, {
      ...{ group: chosen, updateMask: ['selector'] },
    }),
    { memberCount: 1n, displayName: 'early' },
  );
  t.same(await members(cloud, 'early'), ['sites/a/devices/d1']);
});

t.test('a campaign for a group goes where its members are, and where they come', async (t) => {
  const cloud = await cloudUnderTest(t);
  await uploadImage(cloud, Buffer.from('an image'));
  const [a, b] = [await connectSite(t, cloud, 'a'), await connectSite(t, cloud, 'b')];
  await a.report(device('d1'));
  await b.report(device('d1'), device('d2'));
  await create(cloud, 'g', { devices: ['sites/a/devices/d1'] });
  t.equal((await start(cloud, 'c1', { groups: ['groups/g'] })).siteCount, 1);
  const plan = await a.planWith((plan) => plan.has('campaign/c1'));
  t.match(bodyOf(plan, 'campaign/c1'), { target: { groups: ['g'], late_joiners: true } });
  t.same(bodyOf(plan, 'group/g'), { devices: ['d1'] });
  await change(cloud, 'g', { add: ['sites/b/devices/d2'] });
  const later = await b.planWith((plan) => plan.has('campaign/c1'));
  t.same(bodyOf(later, 'group/g'), { devices: ['d2'] });
  const remove = () =>
    cloud.call(cloud.groups, cloud.groups.deleteGroup, { name: 'groups/g', etag: '' });
  await t.rejects(remove(), { code: 'RESOURCE_IN_USE' });
  await b.report({ kind: 'device_removed', body: { device: 'd2' } });
  t.same(await members(cloud, 'g'), ['sites/a/devices/d1'], 'a device that is gone is in none');
});

t.test('tells each site only of its own devices', async (t) => {
  const cloud = await cloudUnderTest(t);
  await uploadImage(cloud, Buffer.from('an image'));
  const [a, b] = [await connectSite(t, cloud, 'a'), await connectSite(t, cloud, 'b')];
  await a.report(device('d1'), device('d2'));
  await b.report(device('d3'), device('d4'));
  await label(cloud, 'sites/b/devices/d4', { ring: 'early' });
  await start(cloud, 'ids', { deviceIds: ['d1', 'd3'] });
  const targetAt = async (site: typeof a, id: string) =>
    bodyOf(await site.planWith((plan) => plan.has(`campaign/${id}`)), `campaign/${id}`)?.target;
  t.match(await targetAt(a, 'ids'), { device_ids: ['d1'] });
  t.match(await targetAt(b, 'ids'), { device_ids: ['d3'] });
  t.equal((await start(cloud, 'known', { deviceIds: ['d1'] })).siteCount, 1);
  t.equal(
    (await start(cloud, 'unknown', { deviceIds: ['d1', 'yet-to-come'] })).siteCount,
    2,
    'one that nobody knows may come anywhere',
  );
  const fixed = { lateJoiners: false, attributes: { ring: 'early' } };
  t.equal((await start(cloud, 'fixed', fixed)).siteCount, 1);
  t.match(await targetAt(b, 'fixed'), {
    ...{ device_ids: ['d4'], attributes: {}, late_joiners: false },
  });
  await label(cloud, 'sites/a/devices/d1', { ring: 'early' });
  t.notOk((await a.planWith((plan) => plan.has('device/d1'))).has('campaign/fixed'));
  await t.rejects(
    start(cloud, 'nobody', { lateJoiners: false, models: ['pi'], sites: [], deviceIds: ['x'] }),
    {
      ...{ code: 'RESOURCE_STATE_WRONG', message: /No device fits/ },
    },
  );
});

t.test('refuses groups that cannot be, each with its code', async (t) => {
  const cloud = await cloudUnderTest(t);
  const selector = { ring: 'early' };
  await create(cloud, 'g', { selector });
  for (const [id, set, code] of [
    ['g', {}, 'RESOURCE_EXISTS'],
    ['a/b', {}, 'REQUEST_INVALID'],
    ['h', { selector, devices: ['sites/a/devices/d'] }, 'REQUEST_INVALID'],
    ['h', { devices: ['sites/a/devices/d'] }, 'RESOURCE_NOT_FOUND'],
  ] as const) {
    await t.rejects(
      create(cloud, id, { ...set, devices: [...('devices' in set ? set.devices : [])] }),
      {
        code,
      },
    );
  }
  await t.rejects(members(cloud, 'none'), { code: 'RESOURCE_NOT_FOUND' });
});
