import {
  Campaign,
  CampaignPhase,
  CampaignState,
  CampaignTarget,
  PhaseJudge,
  PhaseState,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import t from 'tap';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';
import { connectSite, type PlanUnderTest } from '../testing/site-stand-in.js';
import { uploadImage } from '../testing/upload-image.js';

const image = Buffer.from('an image');
const name = 'campaigns/c1';

const execution = (device: string, status: string, phase: number, more: object = {}) => ({
  kind: 'execution',
  body: {
    ...{ campaign: 'c1', device, status, attempt: 1, progress: null, from_version: '1.0' },
    ...{ to_version: '2.0', error: null, phase, door: 'native', number: 7 },
    ...more,
  },
});
const targeted = { kind: 'campaign_targeted', body: { campaign: 'c1', executions: 1 } };
const begun = (phase: number) => ({
  kind: 'campaign_phase',
  body: { campaign: 'c1', phase, counts: {} },
});
const settled = { kind: 'campaign_settled', body: { campaign: 'c1' } };

const phase = (set: Partial<CampaignPhase>): CampaignPhase => ({
  ...CampaignPhase.fromPartial({}),
  ...set,
});

/** Drafts `c1` and starts it. */
const start = async (cloud: CloudUnderTest, set: Partial<Campaign> = {}): Promise<Campaign> => {
  await cloud.call(cloud.campaigns, cloud.campaigns.createCampaign, {
    campaignId: 'c1',
    campaign: { ...Campaign.fromPartial({ images: ['firmware/pi@2.0'] }), ...set },
  });
  return cloud.call(cloud.campaigns, cloud.campaigns.startCampaign, { name, etag: '' });
};
const get = (cloud: CloudUnderTest, id = 'c1') =>
  cloud.call(cloud.campaigns, cloud.campaigns.getCampaign, { name: `campaigns/${id}` });
const pause = (cloud: CloudUnderTest) =>
  cloud.call(cloud.campaigns, cloud.campaigns.pauseCampaign, { name, reason: 'a look' });
const resume = (cloud: CloudUnderTest) =>
  cloud.call(cloud.campaigns, cloud.campaigns.resumeCampaign, { name, reason: '' });
const cancel = (cloud: CloudUnderTest) =>
  cloud.call(cloud.campaigns, cloud.campaigns.cancelCampaign, { name, reason: 'a mistake' });
const auditOf = async (cloud: CloudUnderTest, resource = name) => {
  const { entries } = await cloud.call(cloud.audit, cloud.audit.listAuditEntries, {
    ...{ pageSize: 0, pageToken: '', resource, site: '', action: '' },
    ...{ since: undefined, until: undefined },
  });
  return entries.map(({ action, actor }) => `${action} ${actor}`);
};

const bodyOf = (plan: PlanUnderTest) => plan.get('campaign/c1')?.body;
const isIn = (plan: PlanUnderTest) => plan.has('campaign/c1');
const isReleased = (index: number) => (plan: PlanUnderTest) =>
  (bodyOf(plan)?.phases as { released: boolean }[] | undefined)?.[index]?.released === true;

const twoSites = async (t: Parameters<typeof connectSite>[0], cloud: CloudUnderTest) => {
  await uploadImage(cloud, image);
  const [a, b] = [await connectSite(t, cloud, 'a'), await connectSite(t, cloud, 'b')];
  return [a, b] as const;
};

t.test('a phase that the fleet judges is passed by its numbers, and one by approval', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a, b] = await twoSites(t, cloud);
  const fleet = { judgedBy: PhaseJudge.PHASE_JUDGE_FLEET, successPercent: 100 };
  await start(cloud, {
    phases: [
      phase({ percent: 10, ...fleet }),
      phase({ percent: 50 }),
      phase({ percent: 100, approval: true }),
    ],
  });
  const first = bodyOf(await a.planWith(isIn));
  t.match(first, { phases: [{ released: true }, { released: false }, { released: false }] });
  await a.report(targeted, begun(0), execution('d1', 'succeeded', 0));
  t.match((await get(cloud)).phases, [
    { number: 1, state: PhaseState.PHASE_STATE_DONE },
    { state: PhaseState.PHASE_STATE_WAITING, waitsFor: /1 of 2 sites/ },
    { state: PhaseState.PHASE_STATE_WAITING, waitsFor: 'approval' },
  ]);
  // Heard of by parts: that it has begun the phase before what is in it.
  await b.report(targeted, begun(0));
  await b.report(execution('d2', 'installing', 0));
  t.match((await get(cloud)).phases[1]?.waitsFor, /1 of 2 so far\)/, 'what runs has not succeeded');
  await b.report(execution('d2', 'succeeded', 0));
  t.ok(await b.planWith(isReleased(1)), 'the second phase may begin');
  const { phases } = await cloud.call(cloud.campaigns, cloud.campaigns.approvePhase, {
    ...{ name, phase: 0, comment: 'looks well' },
  });
  t.match(phases[2], { approvedBy: 'cloud:admin', state: PhaseState.PHASE_STATE_RELEASED });
  t.ok(await a.planWith(isReleased(2)));
  const approve = (number: number) =>
    cloud.call(cloud.campaigns, cloud.campaigns.approvePhase, {
      ...{ name, phase: number, comment: '' },
    });
  for (const wrong of [0, 2, 4]) await t.rejects(approve(wrong), { code: 'REQUEST_INVALID' });
  t.same(await auditOf(cloud), [
    'campaign.created cloud:admin',
    'campaign.started cloud:admin',
    'campaign.phase_passed cloud',
    'campaign.phase_approved cloud:admin',
  ]);
});

const byFleet = (successPercent: number): Partial<Campaign> => ({
  phases: [
    phase({ percent: 50, judgedBy: PhaseJudge.PHASE_JUDGE_FLEET, successPercent }),
    phase({ percent: 100 }),
  ],
});

t.test('what came in while it was paused counts when it goes on', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a, b] = await twoSites(t, cloud);
  await start(cloud, byFleet(100));
  await a.report(targeted, begun(0), execution('d1', 'succeeded', 0));
  await pause(cloud);
  await b.report(targeted, begun(0), execution('d2', 'succeeded', 0));
  t.ok(await a.planWith((plan) => bodyOf(plan)?.state === 'paused' && !isReleased(1)(plan)));
  await resume(cloud);
  t.match((await get(cloud)).phases[1], { state: PhaseState.PHASE_STATE_RELEASED });
});

for (const last of ['site', 'device'] as const) {
  t.test(`nobody waits for the success of a ${last} that is gone`, async (t) => {
    const cloud = await cloudUnderTest(t);
    const [a] = await twoSites(t, cloud);
    await start(cloud, byFleet(100));
    const both = { kind: 'campaign_targeted', body: { campaign: 'c1', executions: 2 } };
    await a.report(both, begun(0), execution('d1', 'succeeded', 0), execution('d2', 'queued', 0));
    const ends = {
      site: () => cloud.call(cloud.sites, cloud.sites.deleteSite, { name: 'sites/b', etag: '' }),
      device: () => a.report({ kind: 'device_removed', body: { device: 'd2' } }),
    };
    await ends[last === 'site' ? 'device' : 'site']();
    t.match((await get(cloud)).phases[1], { state: PhaseState.PHASE_STATE_WAITING });
    await ends[last]();
    t.match((await get(cloud)).phases[1], { state: PhaseState.PHASE_STATE_RELEASED });
    t.ok(await a.planWith(isReleased(1)));
  });
}

t.test('a phase may be released before its time', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a] = await twoSites(t, cloud);
  const fleet = { judgedBy: PhaseJudge.PHASE_JUDGE_FLEET, successPercent: 100 };
  await start(cloud, {
    phases: [phase({ percent: 10, ...fleet }), phase({ percent: 100, approval: true })],
  });
  const released = await cloud.call(cloud.campaigns, cloud.campaigns.releasePhase, {
    ...{ name, phase: 0, reason: 'the sites are at sea' },
  });
  t.match(released.phases[1], { releasedBy: 'cloud:admin', waitsFor: '' });
  t.ok(await a.planWith(isReleased(1)));
});

t.test('pauses and goes on everywhere, with what the sites did by themselves', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a, b] = await twoSites(t, cloud);
  await start(cloud);
  await a.planWith(isIn);
  t.match(await pause(cloud), {
    ...{ state: CampaignState.CAMPAIGN_STATE_PAUSED, pausedBy: 'cloud:admin' },
    pauseReason: 'a look',
  });
  await pause(cloud);
  t.ok(await a.planWith((plan) => bodyOf(plan)?.state === 'paused'));
  t.match(await resume(cloud), { state: CampaignState.CAMPAIGN_STATE_RUNNING, pausedBy: '' });
  t.ok(await a.planWith((plan) => bodyOf(plan)?.resumes === 1));
  const because = { campaign: 'c1', reason: '3 of 4 failed', by: 'site' };
  await b.report(targeted, { kind: 'campaign_paused', body: because });
  t.match(await get(cloud), { state: CampaignState.CAMPAIGN_STATE_RUNNING, pausedSiteCount: 1 });
  const progress = async () =>
    (
      await cloud.call(cloud.campaigns, cloud.campaigns.listCampaignProgress, {
        ...{ parent: name, pageSize: 0, pageToken: '' },
      })
    ).sites;
  t.match(await progress(), [
    { site: 'sites/a', reporting: false, pausedBy: '' },
    { site: 'sites/b', reporting: true, pausedBy: 'site', pauseReason: '3 of 4 failed' },
  ]);
  await resume(cloud);
  t.ok(await b.planWith((plan) => bodyOf(plan)?.resumes === 2), 'so that the site goes on too');
  await b.report({ kind: 'campaign_resumed', body: { campaign: 'c1', by: 'cloud' } });
  t.match(await get(cloud), { pausedSiteCount: 0 });
  const again = await resume(cloud);
  t.equal(again.etag, (await get(cloud)).etag, 'there was nothing to resume');
  t.same((await auditOf(cloud)).slice(2), [
    'campaign.paused cloud:admin',
    'campaign.resumed cloud:admin',
    'campaign.paused site',
    'campaign.resumed cloud:admin',
    'campaign.resumed cloud',
  ]);
});

t.test('pauses everywhere when too much fails in the fleet, once', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a, b] = await twoSites(t, cloud);
  await start(cloud, { phases: [phase({ percent: 100, errorPercent: 40, errorMinCount: 2 })] });
  await a.report(targeted, begun(0), execution('d1', 'failed', 0));
  t.equal((await get(cloud)).state, CampaignState.CAMPAIGN_STATE_RUNNING, 'one says nothing');
  await b.report(targeted, begun(0), execution('d2', 'rolled_back', 0));
  t.match(await get(cloud), {
    ...{ state: CampaignState.CAMPAIGN_STATE_PAUSED, pausedBy: 'cloud' },
    pauseReason: /2 of 2 failed in phase 1/,
  });
  t.ok(await a.planWith((plan) => bodyOf(plan)?.state === 'paused'));
  await resume(cloud);
  await a.report(execution('d3', 'succeeded', 0));
  t.equal((await get(cloud)).state, CampaignState.CAMPAIGN_STATE_RUNNING, 'it is forgiven');
  await a.report(execution('d4', 'failed', 0), execution('d5', 'failed', 0));
  t.match(await get(cloud), { pauseReason: /2 of 3 failed/ });
});

t.test('ends in every way', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a, b] = await twoSites(t, cloud);
  await start(cloud);
  await pause(cloud);
  await a.report(targeted, execution('d1', 'queued', 0));
  t.equal((await cancel(cloud)).state, CampaignState.CAMPAIGN_STATE_CANCELLING, 'while paused');
  t.ok(await a.planWith((plan) => bodyOf(plan)?.state === 'cancelling'));
  await t.rejects(resume(cloud), { code: 'RESOURCE_STATE_WRONG' });
  await a.report(execution('d1', 'cancelled', 0), settled);
  t.equal((await get(cloud)).state, CampaignState.CAMPAIGN_STATE_CANCELLING);
  await b.report(execution('d7', 'downloading', 0));
  t.match((await get(cloud)).progress, { inProgress: 1n, cancelled: 1n });
  await cloud.call(cloud.sites, cloud.sites.deleteSite, { name: 'sites/b', etag: '' });
  b.link.close();
  t.match((await get(cloud)).progress, { inProgress: 0n, cancelled: 2n });
  t.equal((await get(cloud)).state, CampaignState.CAMPAIGN_STATE_CANCELLED, 'with its last site');

  const again = { images: ['firmware/pi@2.0'] };
  await cloud.call(cloud.campaigns, cloud.campaigns.createCampaign, {
    ...{ campaignId: 'c2', campaign: Campaign.fromPartial(again) },
  });
  await cloud.call(cloud.campaigns, cloud.campaigns.startCampaign, {
    ...{ name: 'campaigns/c2', etag: '' },
  });
  const ofC2 = (device: string, status: string) => execution(device, status, 0, { campaign: 'c2' });
  await a.report(ofC2('d8', 'installing'), ofC2('d9', 'queued'));
  await a.report({ kind: 'device_removed', body: { device: 'd9' } });
  t.match(
    (await get(cloud, 'c2')).progress,
    { queued: 0n, cancelled: 1n },
    'a device that is gone',
  );
  await a.report(ofC2('d9', 'downloading'));
  t.match((await get(cloud, 'c2')).progress, { inProgress: 1n, cancelled: 1n });
  await cloud.call(cloud.campaigns, cloud.campaigns.pauseCampaign, {
    ...{ name: 'campaigns/c2', reason: '' },
  });
  await a.report(ofC2('d8', 'succeeded'), { kind: 'campaign_settled', body: { campaign: 'c2' } });
  t.equal((await get(cloud, 'c2')).state, CampaignState.CAMPAIGN_STATE_COMPLETED, 'while paused');
});

t.test('keeps the steps of each execution, with their times', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a] = await twoSites(t, cloud);
  await start(cloud);
  await a.report(
    execution('d1', 'queued', 0),
    execution('d1', 'downloading', 0, { progress: 10 }),
    execution('d1', 'downloading', 0, { progress: 50 }),
    execution('d1', 'failed', 0, { error: 'the image is broken' }),
    execution('d2', 'queued', 0),
  );
  const steps = (parent: string) =>
    cloud.call(cloud.campaigns, cloud.campaigns.listExecutionSteps, {
      ...{ parent: `${name}/executions/${parent}`, pageSize: 2, pageToken: '' },
    });
  const { steps: some, nextPageToken } = await steps('a:d1');
  t.match(some, [
    { execution: `${name}/executions/a:d1`, time: new Date(1_000), door: 'native' },
    { attempt: 1, error: '' },
  ]);
  const rest = await cloud.call(cloud.campaigns, cloud.campaigns.listExecutionSteps, {
    ...{ parent: `${name}/executions/a:d1`, pageSize: 2, pageToken: nextPageToken },
  });
  t.match(rest.steps, [{ error: 'the image is broken' }]);
  t.equal((await steps('-')).steps.length, 2);
  await t.rejects(steps('d1'), { code: 'REQUEST_INVALID' });
});

t.test('a plain job goes to devices of every model', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a] = await twoSites(t, cloud);
  const document = { do: 'check', depth: [1, { of: null }] };
  const started = await start(cloud, { images: [], document });
  t.same(started.document, document);
  t.match(bodyOf(await a.planWith(isIn)), { firmware: [], document, target: { models: [] } });
});

t.test('takes an image back by one with the same security counter', async (t) => {
  const cloud = await cloudUnderTest(t);
  const [a] = await twoSites(t, cloud);
  await uploadImage(cloud, Buffer.from('before'), { version: '1.0' });
  await uploadImage(cloud, Buffer.from('safer'), { version: '3.0', security_counter: 1 });
  const rollback = (...images: string[]) =>
    cloud.call(cloud.campaigns, cloud.campaigns.createRollbackCampaign, {
      ...{ name, campaignId: 'back', images, reason: 'it leaks' },
    });
  await start(cloud);
  await t.rejects(rollback(), { code: 'REQUEST_INVALID' });
  await t.rejects(rollback('firmware/pi@2.0'), { code: 'REQUEST_INVALID' });
  await t.rejects(rollback('firmware/pi@3.0'), {
    ...{ code: 'FIRMWARE_COUNTER_TOO_LOW', message: /the same/ },
  });
  t.match(await rollback('firmware/pi@1.0'), {
    ...{ state: CampaignState.CAMPAIGN_STATE_DRAFT, rollbackOf: name },
    allowsOlder: ['firmware/pi@1.0'],
    target: { currentVersions: ['2.0'] },
  });
  t.equal((await get(cloud)).state, CampaignState.CAMPAIGN_STATE_RUNNING);
  await cloud.call(cloud.campaigns, cloud.campaigns.startCampaign, {
    ...{ name: 'campaigns/back', etag: '' },
  });
  t.match(await get(cloud), {
    ...{ state: CampaignState.CAMPAIGN_STATE_CANCELLING, cancelReason: 'taken back by back' },
  });
  const plan = await a.planWith((plan) => plan.has('campaign/back'));
  t.match(plan.get('campaign/back')?.body, {
    ...{ firmware: ['pi@1.0'], allows_older: ['pi@1.0'] },
  });
  t.ok((await auditOf(cloud)).includes('campaign.rolled_back cloud:admin'));
});

t.test('starts by itself when its time comes, which the sites know before', async (t) => {
  const clock = { ahead: 0 };
  const cloud = await cloudUnderTest(t, { now: () => Date.now() + clock.ahead });
  const [a] = await twoSites(t, cloud);
  const scheduledTime = new Date(Date.now() + 1_000);
  const scheduled = await start(cloud, { scheduledTime });
  t.match(scheduled, { state: CampaignState.CAMPAIGN_STATE_SCHEDULED, scheduledTime });
  t.match(bodyOf(await a.planWith(isIn)), {
    ...{ state: 'running', started_at: scheduledTime.getTime() },
  });
  await t.rejects(pause(cloud), { code: 'RESOURCE_STATE_WRONG' });
  const call = cloud.campaigns.watchCampaign({ name }, cloud.metadata);
  call.on('error', () => undefined);
  for await (const campaign of call) {
    if ((campaign as Campaign).state === CampaignState.CAMPAIGN_STATE_RUNNING) break;
  }
  t.same((await auditOf(cloud)).slice(1), [
    'campaign.scheduled cloud:admin',
    'campaign.started cloud',
  ]);
});

t.test('has two images of a model where they were signed for different hardware', async (t) => {
  const cloud = await cloudUnderTest(t);
  for (const [version, hardware] of [
    ['2.0-b', ['b']],
    ['2.0-c', ['c', 'd']],
    ['2.0-d', ['d']],
    ['2.0', []],
  ] as const) {
    await uploadImage(cloud, Buffer.from(version), { version, hardware: [...hardware] });
  }
  const create = (...versions: string[]) =>
    cloud.call(cloud.campaigns, cloud.campaigns.createCampaign, {
      campaign: Campaign.fromPartial({ images: versions.map((one) => `firmware/pi@${one}`) }),
      campaignId: 'c1',
    });
  t.match(await create('2.0-b', '2.0-c'), {
    images: ['firmware/pi@2.0-b', 'firmware/pi@2.0-c'],
    target: { models: ['pi'] },
  });
  const message = /both for pi: .*different hardware/;
  await t.rejects(create('2.0-c', '2.0-d'), { code: 'REQUEST_INVALID', message });
  await t.rejects(create('2.0-b', '2.0'), { code: 'REQUEST_INVALID', message });
});

t.test('says what is wrong with what somebody asks for', async (t) => {
  const cloud = await cloudUnderTest(t);
  await uploadImage(cloud, image);
  await uploadImage(cloud, Buffer.from('another'), { version: '3.0' });
  const target = (set: Partial<CampaignTarget>) => ({
    target: { ...CampaignTarget.fromPartial({}), ...set },
  });
  const phases = (...set: Partial<CampaignPhase>[]) => ({ phases: set.map(phase) });
  for (const [set, message] of [
    [{ images: [] }, /images .* or the document/],
    [{ document: {} }, /not both/],
    [{ images: ['firmware/pi@2.0', 'firmware/pi@3.0'] }, /one image a model/],
    [phases({ percent: 50 }), /100 in the last/],
    [phases({ percent: 50 }, { percent: 40 }), /phase 2: percent is 40 .* above 50/],
    [phases({ percent: 0 }), /phase 1/],
    [phases({ percent: 100, successPercent: 101 }), /success_percent is 101/],
    [target({ versionRange: '< soon' }), /version_range .*< 2\.1\.0/],
    [target({ models: ['car'] }), /the images are for pi/],
    [target({ groups: ['pumps'] }), /groups\/\{group\}/],
  ] as const) {
    const campaign = { ...Campaign.fromPartial({ images: ['firmware/pi@2.0'] }), ...set };
    await t.rejects(
      cloud.call(cloud.campaigns, cloud.campaigns.createCampaign, {
        ...{ campaignId: 'c1', campaign: campaign as unknown as Campaign },
      }),
      { code: 'REQUEST_INVALID', message },
      `${message}`,
    );
  }
  await t.rejects(start(cloud, target({ groups: ['groups/none'] })), {
    ...{ code: 'RESOURCE_NOT_FOUND', data: { next: 'holdfast group list' } },
  });
});
