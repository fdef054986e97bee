import t from 'tap';
import { parseCampaignFile } from './campaign-file.js';
import { campaignOf, mergeSpecs, parseBudget } from './campaign-spec.js';

const file = `
name: Pumps, carefully
images: pump@2.1.0
target:
  groups: [pumps]
  labels: { ring: 1 }
  versions: '< 2.1.0'
  late_joiners: false
phases:
  - 5%:1h
  - { percent: 50, duration: 24h, success: 95, errors: 10, error_count: 20, judged_by: fleet }
  - { percent: 100, approve: true }
policy:
  concurrency: 3
  max_plan_age: 2d
  wan: 500kB
  budgets: ['pumps:max=1']
start_at: 2026-11-23T02:00:00Z
`;

t.test('reads a campaign from a file as from flags', async (t) => {
  const spec = parseCampaignFile(file, 'pumps.yaml', 0);
  const campaign = campaignOf('pumps', mergeSpecs(spec, { concurrency: 5 }));
  t.match(campaign, {
    displayName: 'Pumps, carefully',
    images: ['firmware/pump@2.1.0'],
    target: {
      groups: ['groups/pumps'],
      attributes: { ring: '1' },
      versionRange: '< 2.1.0',
      lateJoiners: false,
    },
    phases: [
      { percent: 5, durationSeconds: 3_600n },
      { percent: 50, successPercent: 95, errorPercent: 10, errorMinCount: 20 },
      { percent: 100, approval: true },
    ],
    policy: {
      siteConcurrency: 5,
      maxPlanAgeSeconds: 172_800n,
      wanBytesPerSecond: 500_000n,
      disruption: [{ group: 'groups/pumps', maxUnavailable: 1 }],
    },
    scheduledTime: new Date('2026-11-23T02:00:00Z'),
  });
});

t.test('reads the document of a job', async (t) => {
  const spec = parseCampaignFile('document: { do: check, depth: [1, 2] }', 'job.yaml', 0);
  t.same(campaignOf('j', spec).document, { do: 'check', depth: [1, 2] });
});

t.test('says which field of a file is wrong', async (t) => {
  for (const [content, said] of [
    ['image: pump@2', /image: there is no such field/],
    ['policy: { concurrency: many }', /policy\.concurrency/],
    ['phases: [often]', /often/],
    ['target: { groups: {} }', /target\.groups/],
    ['images: [', /job\.yaml/],
  ] as const) {
    t.throws(() => parseCampaignFile(content, 'job.yaml', 0), {
      code: 'REQUEST_INVALID',
      message: said,
    });
  }
});

t.test('reads budgets of the site and of groups', async (t) => {
  t.same(parseBudget('max=2'), { group: '', maxUnavailable: 2 });
  t.same(parseBudget('pumps:max=1:min=3'), {
    group: 'groups/pumps',
    maxUnavailable: 1,
    minAvailable: 3,
  });
  for (const wrong of ['', 'pumps', 'max=all', 'pumps:max']) {
    t.throws(() => parseBudget(wrong), { code: 'REQUEST_INVALID' }, wrong);
  }
});
