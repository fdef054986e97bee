import { isDeepStrictEqual } from 'node:util';
import { type ExecutionStatus, executionStatuses } from '@holdfast/protos/link/execution-status';
import * as fc from 'fast-check';
import t from 'tap';
import { StandInLog } from '../testing/gateway-stand-in.js';
import { type StoreUnderTest, storeUnderTest } from '../testing/store-under-test.js';
import { storedCampaign } from '../testing/stored-campaign.js';
import { registerCampaignEffects } from './campaign-effects.js';
import { newPhaseRow } from './campaign-gates.js';
import type { CampaignRow } from './campaign-records.js';
import { joinSites } from './campaign-sites.js';
import { closeExecutions } from './execution-records.js';
import { counterOf, counters, noCounts } from './progress.js';

const phases = [10, 50, 100].map((percent) => ({
  percent,
  duration_ms: 0,
  success_percent: 0,
  error_percent: 100,
  error_min_count: 0,
  judged_by: 'site',
  approval: false,
}));

const insertRunning = (store: StoreUnderTest, id: string, set: Partial<CampaignRow> = {}) =>
  store.engine.write(async (tx) => {
    const row = storedCampaign({ campaign_id: id, phases: JSON.stringify(phases), ...set });
    await tx.db.insertInto('campaigns').values(row).execute();
    for (const index of phases.keys()) {
      await tx.db.insertInto('campaign_phases').values(newPhaseRow(id, index)).execute();
    }
    await joinSites(tx, id, ['a']);
  });

const execution = (
  campaign: string,
  device: string,
  status: ExecutionStatus,
  { phase = null, attempt = 1 }: { readonly phase?: number | null; readonly attempt?: number } = {},
) => ({
  kind: 'execution',
  body: {
    campaign,
    device,
    status,
    attempt,
    progress: null,
    from_version: null,
    to_version: '2',
    error: null,
    phase,
  },
});

const open = async (t: Parameters<typeof storeUnderTest>[0]) => {
  const store = await storeUnderTest(t);
  registerCampaignEffects(store);
  return store;
};

type Counts = Record<'total' | (typeof counters)[number], number>;

const sumOf = (rows: readonly { readonly status: ExecutionStatus }[]): Counts => {
  const sum: Counts = { ...noCounts, total: rows.length };
  for (const { status } of rows) sum[counterOf(status)] += 1;
  return sum;
};

const pickCounts = (row: Counts): Counts => {
  const picked: Counts = { ...noCounts };
  for (const counter of ['total', ...counters] as const) picked[counter] = row[counter];
  return picked;
};

/** Everything that is counted of a campaign as it is kept, and as a scan of executions and sites finds it. */
const counted = async ({ engine: { read } }: StoreUnderTest, campaign: string) => {
  const own = await read
    .selectFrom('campaigns')
    .selectAll()
    .where('campaign_id', '=', campaign)
    .executeTakeFirstOrThrow();
  const byPhase = await read
    .selectFrom('campaign_phases')
    .selectAll()
    .where('campaign_id', '=', campaign)
    .orderBy('phase')
    .execute();
  const bySite = await read
    .selectFrom('campaign_counts')
    .selectAll()
    .where('campaign_id', '=', campaign)
    .where('total', '>', 0)
    .orderBy('phase')
    .execute();
  const rows = await read
    .selectFrom('executions')
    .selectAll()
    .where('campaign_id', '=', campaign)
    .execute();
  const sites = await read
    .selectFrom('campaign_sites')
    .selectAll()
    .where('campaign_id', '=', campaign)
    .execute();
  const steps = await read
    .selectFrom('execution_steps')
    .select('step')
    .where('campaign_id', '=', campaign)
    .execute();
  const ofPhase = (index: number) => rows.filter(({ phase }) => phase === index);
  return {
    kept: {
      all: pickCounts(own),
      phases: byPhase.map(pickCounts),
      sitePhases: bySite.map((row) => [row.phase, pickCounts(row)]),
      entered: byPhase.map(({ entered_count }) => entered_count),
      sites: [
        own.site_count,
        own.reporting_count,
        own.settled_count,
        own.paused_count,
        own.targeted_count,
      ],
      steps: rows.reduce((sum, row) => sum + row.steps, 0),
    },
    scanned: {
      all: sumOf(rows),
      phases: phases.map((_, index) => sumOf(ofPhase(index))),
      sitePhases: [0, 1, 2]
        .filter((index) => ofPhase(index).length > 0)
        .map((index) => [index, sumOf(ofPhase(index))]),
      entered: phases.map((_, index) => sites.filter(({ phase }) => phase > index).length),
      sites: [
        sites.length,
        sites.filter(({ reporting }) => reporting === 1).length,
        sites.filter(({ settled }) => settled === 1).length,
        sites.filter(({ paused_by }) => paused_by !== '').length,
        sites.reduce((sum, { targeted }) => sum + targeted, 0),
      ],
      steps: steps.length,
    },
  };
};

const campaignId = fc.constantFrom('c1', 'c2', 'unknown');
const entry = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .record({
        campaign: campaignId,
        device: fc.constantFrom('d1', 'd2', 'd3'),
        status: fc.constantFrom(...executionStatuses),
        // A site may say what no campaign has.
        phase: fc.constantFrom(null, 0, 1, 2, 7),
        attempt: fc.integer({ min: 1, max: 2 }),
      })
      .map(({ campaign, device, status, ...more }) => execution(campaign, device, status, more)),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ campaign: campaignId, phase: fc.nat(2) })
      .map((body) => ({ kind: 'campaign_phase', body: { ...body, counts: {} } })),
  },
  {
    weight: 1,
    arbitrary: campaignId.map((campaign) => ({
      kind: 'campaign_targeted',
      body: { campaign, executions: 3 },
    })),
  },
  {
    weight: 1,
    arbitrary: campaignId.map((campaign) => ({
      kind: 'campaign_paused',
      body: { campaign, reason: 'errors', by: 'site' },
    })),
  },
  {
    weight: 1,
    arbitrary: campaignId.map((campaign) => ({
      kind: 'campaign_resumed',
      body: { campaign, by: 'site:ann' },
    })),
  },
);
const action = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('report' as const),
      log: fc.nat(2),
      entries: fc.array(entry, { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('resend' as const), index: fc.nat(50) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('renumber' as const), log: fc.nat(2) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('delete' as const),
      device: fc.constantFrom('d1', 'd2', 'd3'),
    }),
  },
);

t.test('the counters are what a scan would find, whatever comes again and from whom', async (t) => {
  const store = await open(t);
  await insertRunning(store, 'c1');
  await insertRunning(store, 'c2');
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 12 }), async (actions) => {
      // The last log is that of a gateway that owns the site no more.
      const logs = [0, 1, 2].map(() => ({
        log: new StandInLog('state'),
        all: [] as { readonly kind: string; readonly body: unknown }[],
      }));
      const isFenced = (log: number) => ({ isFenced: log === 2 });
      const sent: { batch: Parameters<StoreUnderTest['ingest']>[0]; log: number }[] = [];
      for (const step of actions) {
        if (step.type === 'report') {
          const own = logs[step.log];
          if (own === undefined) continue;
          own.all.push(...step.entries);
          const batch = await own.log.batch(step.entries);
          sent.push({ batch, log: step.log });
          await store.ingest(batch, isFenced(step.log));
        } else if (step.type === 'delete') {
          const key = { site: 'a', device: step.device };
          await store.engine.write((tx) => closeExecutions(store, tx, key, 'deleted'));
        } else if (step.type === 'resend') {
          const again = sent[step.index % Math.max(1, sent.length)];
          if (again !== undefined) await store.ingest(again.batch, isFenced(again.log));
        } else {
          // A gateway whose log did not fit sends all it has under a new one.
          const own = logs[step.log];
          if (own === undefined || own.all.length === 0) continue;
          own.log = new StandInLog('state');
          const batch = await own.log.batch(own.all);
          sent.push({ batch, log: step.log });
          await store.ingest(batch, isFenced(step.log));
        }
        for (const campaign of ['c1', 'c2']) {
          const { kept, scanned } = await counted(store, campaign);
          compared += 1;
          if (!isDeepStrictEqual(kept, scanned)) t.same(kept, scanned, campaign);
        }
      }
    }),
    { numRuns: 60 },
  );
  t.ok(compared > 100);
});

t.test('a log that is sent again takes no result back', async (t) => {
  const store = await open(t);
  await insertRunning(store, 'c1');
  const entries = (['queued', 'downloading', 'succeeded'] as const).map((status) =>
    execution('c1', 'd1', status),
  );
  await store.ingest(await new StandInLog('state').batch(entries));
  await store.ingest(await new StandInLog('state').batch(entries.slice(0, 2)));
  t.match((await counted(store, 'c1')).kept.all, { total: 1, succeeded: 1, in_progress: 0 });
});

t.test('what a fenced gateway says does not stand against its successor', async (t) => {
  const store = await open(t);
  await insertRunning(store, 'c1');
  const fenced = { isFenced: true };
  const older = new StandInLog('state');
  const owner = new StandInLog('state');
  await store.ingest(await older.batch([execution('c1', 'd1', 'failed')]), fenced);
  t.match((await counted(store, 'c1')).kept.all, { failed: 1 }, 'it saw that happen');
  await store.ingest(await owner.batch([execution('c1', 'd1', 'succeeded')]));
  await store.ingest(
    await older.batch([
      execution('c1', 'd1', 'rolled_back'),
      { kind: 'campaign_settled', body: { campaign: 'c1' } } as never,
    ]),
    fenced,
  );
  t.match((await counted(store, 'c1')).kept.all, { total: 1, succeeded: 1, failed: 0 });
  const { state } = await store.engine.read
    .selectFrom('campaigns')
    .select('state')
    .where('campaign_id', '=', 'c1')
    .executeTakeFirstOrThrow();
  t.equal(state, 'running', 'that it was through says nothing of its successor');
});

t.test('keeps what it can make nothing of', async (t) => {
  const store = await open(t);
  const unknown = await new StandInLog('state').batch([
    execution('unknown', 'd1', 'queued'),
    { kind: 'campaign_settled', body: { campaign: 'unknown' } } as never,
  ]);
  t.equal(await store.ingest(unknown), 'committed');
  const kept = await store.engine.read.selectFrom('journal').select(['kind', 'problem']).execute();
  t.same(kept, [
    { kind: 'execution', problem: 'there is no such campaign' },
    { kind: 'campaign_settled', problem: 'the site does not carry this campaign out' },
  ]);
});

t.test('counts nothing of a campaign that others carry out', async (t) => {
  const store = await open(t);
  await insertRunning(store, 'c1');
  await store.engine.write(({ db }) => db.deleteFrom('campaign_sites').execute());
  const batch = await new StandInLog('state').batch([execution('c1', 'd1', 'failed')]);
  t.equal(await store.ingest(batch), 'committed');
  const { total } = await store.engine.read
    .selectFrom('campaigns')
    .select('total')
    .executeTakeFirstOrThrow();
  t.equal(total, 0);
  const kept = await store.engine.read.selectFrom('journal').select('problem').execute();
  t.same(kept, [{ problem: 'the site does not carry this campaign out' }]);
});
