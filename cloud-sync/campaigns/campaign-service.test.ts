import { once } from 'node:events';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import {
  Campaign,
  CampaignState,
  CampaignTarget,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';
import { connectSite } from '../testing/site-stand-in.js';
import { uploadImage } from '../testing/upload-image.js';

const image = Buffer.from('an image');

const execution = (device: string, status: string, campaign = 'c1') => ({
  kind: 'execution',
  body: {
    campaign,
    device,
    status,
    attempt: 1,
    progress: null,
    from_version: '1.0',
    to_version: '2.0',
    error: null,
  },
});
const targeted = (executions: number) => ({
  kind: 'campaign_targeted',
  body: { campaign: 'c1', executions },
});
const settled = { kind: 'campaign_settled', body: { campaign: 'c1' } };

const draft = (set: Partial<Campaign> = {}): Campaign => ({
  ...Campaign.fromPartial({ firmware: 'firmware/pi@2.0' }),
  ...set,
});

const create = (cloud: CloudUnderTest, set: Partial<Campaign> = {}, campaignId = 'c1') =>
  cloud.call(cloud.campaigns, cloud.campaigns.createCampaign, {
    campaignId,
    campaign: draft(set),
  });
const start = (cloud: CloudUnderTest, etag = '') =>
  cloud.call(cloud.campaigns, cloud.campaigns.startCampaign, { name: 'campaigns/c1', etag });
const cancel = (cloud: CloudUnderTest) =>
  cloud.call(cloud.campaigns, cloud.campaigns.cancelCampaign, {
    name: 'campaigns/c1',
    reason: 'a mistake',
  });
const get = (cloud: CloudUnderTest) =>
  cloud.call(cloud.campaigns, cloud.campaigns.getCampaign, { name: 'campaigns/c1' });

const watch = (cloud: CloudUnderTest) => {
  const call = cloud.campaigns.watchCampaign({ name: 'campaigns/c1' }, cloud.metadata);
  const seen: Campaign[] = [];
  call.on('error', () => undefined);
  call.on('data', (campaign: Campaign) => {
    seen.push(campaign);
    call.emit('seen');
  });
  return {
    call,
    seen,
    until: async (isIt: (campaign: Campaign) => boolean): Promise<Campaign> => {
      for (;;) {
        const found = seen.find(isIt);
        if (found !== undefined) return found;
        await once(call, 'seen');
      }
    },
  };
};

t.test(
  'goes into the plan, is counted as it goes, and ends when its sites are through',
  async (t) => {
    const cloud = await cloudUnderTest(t);
    await uploadImage(cloud, image);
    const { report, plan } = await connectSite(t, cloud, 'a');
    t.notOk((await plan()).has('campaign/c1'));
    const created = await create(cloud);
    t.match(created, {
      name: 'campaigns/c1',
      state: CampaignState.CAMPAIGN_STATE_DRAFT,
      target: { model: 'pi' },
      policy: { siteConcurrency: 10, confirmTimeoutSeconds: 600 },
    });
    const watched = watch(cloud);
    await watched.until(({ state }) => state === CampaignState.CAMPAIGN_STATE_DRAFT);
    const started = await start(cloud, created.etag);
    t.equal(started.state, CampaignState.CAMPAIGN_STATE_RUNNING);
    t.same((await start(cloud, created.etag)).etag, started.etag, 'a repeat changes nothing');
    const documents = await plan();
    t.match(documents.get('campaign/c1')?.body, { state: 'running', firmware: ['pi@2.0'] });
    t.match(documents.get('firmware/pi@2.0')?.body, { size_bytes: image.length });

    await report(targeted(2), execution('d1', 'queued'), execution('d2', 'queued'));
    await watched.until(({ progress }) => progress?.queued === 2n);
    await report(execution('d1', 'downloading'), execution('d1', 'succeeded'));
    await watched.until(({ progress }) => progress?.succeeded === 1n && progress.queued === 1n);
    await report(execution('d2', 'rolled_back'), settled);
    const ended = once(watched.call, 'end');
    const last = await watched.until(
      ({ state }) => state === CampaignState.CAMPAIGN_STATE_COMPLETED,
    );
    await ended;
    t.match(last.progress, {
      total: 2n,
      queued: 0n,
      inProgress: 0n,
      succeeded: 1n,
      rolledBack: 1n,
    });
    t.ok(last.endTime);
    t.notOk((await plan()).has('campaign/c1'), 'it leaves the plan');
    const { executions } = await cloud.call(cloud.campaigns, cloud.campaigns.listExecutions, {
      parent: 'campaigns/c1',
      pageSize: 1,
      pageToken: '',
    });
    t.match(executions, [{ name: 'campaigns/c1/executions/a:d1', device: 'sites/a/devices/d1' }]);
    await t.rejects(start(cloud), { code: 'RESOURCE_STATE_WRONG' });
  },
);

t.test('cancels at every site, and at once where there is nothing to cancel', async (t) => {
  const cloud = await cloudUnderTest(t);
  await uploadImage(cloud, image);
  await create(cloud);
  t.equal((await cancel(cloud)).state, CampaignState.CAMPAIGN_STATE_CANCELLED, 'a draft');

  const { report, plan } = await connectSite(t, cloud, 'a');
  await plan();
  // A site without a gateway has nobody who could say that it is through.
  await cloud.call(cloud.sites, cloud.sites.createSite, { siteId: 'empty', site: undefined });
  await create(cloud, {}, 'c2');
  const call = (method: 'startCampaign' | 'cancelCampaign') =>
    cloud.call(cloud.campaigns, cloud.campaigns[method], {
      name: 'campaigns/c2',
      etag: '',
      reason: '',
    });
  await call('startCampaign');
  await plan();
  await report(execution('d1', 'queued', 'c2'));
  t.equal((await call('cancelCampaign')).state, CampaignState.CAMPAIGN_STATE_CANCELLING);
  t.match((await plan()).get('campaign/c2')?.body, { state: 'cancelling' });
  await report(execution('d1', 'cancelled', 'c2'), {
    kind: 'campaign_settled',
    body: { campaign: 'c2' },
  });
  const ended = await cloud.call(cloud.campaigns, cloud.campaigns.getCampaign, {
    name: 'campaigns/c2',
  });
  t.match(ended, {
    state: CampaignState.CAMPAIGN_STATE_CANCELLED,
    progress: { total: 1n, cancelled: 1n },
  });
});

t.test('waits for sites that join later, and no longer for one that is deleted', async (t) => {
  const cloud = await cloudUnderTest(t);
  await uploadImage(cloud, image);
  const first = await connectSite(t, cloud, 'a');
  await create(cloud);
  await start(cloud);
  const later = await connectSite(t, cloud, 'b');
  t.ok((await later.plan()).has('campaign/c1'), 'a new site has it in its first plan');
  await first.report(settled);
  t.equal((await get(cloud)).state, CampaignState.CAMPAIGN_STATE_RUNNING);
  await cloud.call(cloud.sites, cloud.sites.deleteSite, { name: 'sites/b', etag: '' });
  t.equal((await get(cloud)).state, CampaignState.CAMPAIGN_STATE_COMPLETED);
});

t.test('goes only to the sites that it names', async (t) => {
  const cloud = await cloudUnderTest(t);
  await uploadImage(cloud, image);
  const named = await connectSite(t, cloud, 'a');
  const other = await connectSite(t, cloud, 'b');
  await named.plan();
  await create(cloud, {
    target: CampaignTarget.fromPartial({
      sites: ['sites/a'],
      deviceIds: ['d1'],
      currentVersions: ['1.0'],
    }),
  });
  await start(cloud);
  t.match((await named.plan()).get('campaign/c1')?.body, {
    target: { models: ['pi'], device_ids: ['d1'], current_versions: ['1.0'] },
  });
  t.notOk((await other.plan()).has('campaign/c1'));
  await named.report(execution('d1', 'succeeded'), settled);
  t.equal((await get(cloud)).state, CampaignState.CAMPAIGN_STATE_COMPLETED);
});

t.test('counts once what a gateway and its successor both report', async (t) => {
  const cloud = await cloudUnderTest(t);
  await uploadImage(cloud, image);
  const first = await connectSite(t, cloud, 'a');
  await create(cloud);
  await start(cloud);
  await first.report(execution('d1', 'queued'), execution('d1', 'failed'));
  const second = await connectSite(t, cloud, 'a', { replace: true, epoch: 2n });
  await second.report(targeted(1), execution('d1', 'queued'));
  t.match((await get(cloud)).progress, { total: 1n, queued: 0n, failed: 1n });
  await second.report(execution('d1', 'succeeded'), settled);
  const { progress, state } = await get(cloud);
  t.match(progress, { total: 1n, failed: 0n, succeeded: 1n });
  t.equal(state, CampaignState.CAMPAIGN_STATE_COMPLETED);
});

t.test('refuses what cannot be carried out, each with its code', async (t) => {
  const cloud = await cloudUnderTest(t);
  await t.rejects(create(cloud), { code: 'RESOURCE_NOT_FOUND' }, 'no such firmware');
  await uploadImage(cloud, image);
  const target = CampaignTarget.fromPartial({});
  for (const [set, code] of [
    [{ firmware: 'pi' }, 'REQUEST_INVALID'],
    [{ target: { ...target, model: 'other' } }, 'REQUEST_INVALID'],
    [{ target: { ...target, sites: ['sites/x'] } }, 'RESOURCE_NOT_FOUND'],
    [{ target: { ...target, deviceIds: ['a/b'] } }, 'REQUEST_INVALID'],
  ] as const) {
    const campaign = set as unknown as Partial<Campaign>;
    await t.rejects(create(cloud, campaign), { code }, JSON.stringify(set));
  }
  const { etag } = await create(cloud);
  await t.rejects(create(cloud), { code: 'RESOURCE_EXISTS' });
  await t.rejects(start(cloud), { code: 'RESOURCE_STATE_WRONG' }, 'there is no site');
  await cloud.call(cloud.sites, cloud.sites.createSite, { siteId: 'a', site: undefined });
  await t.rejects(start(cloud, `${etag}0`), { code: 'RESOURCE_CONFLICT' });
  const lost = cloud.campaigns.watchCampaign({ name: 'campaigns/none' }, cloud.metadata);
  lost.resume();
  const [error] = await once(lost, 'error');
  t.equal(error.metadata.get('holdfast-code')[0], 'RESOURCE_NOT_FOUND');
  const told = fromServiceError(error, 'the control plane');
  t.same(told.data, { next: 'holdfast campaign list' }, 'and says what to do next');
});
