import { isDeepStrictEqual } from 'node:util';
import { type ExecutionStatus, executionStatuses } from '@holdfast/protos/link/execution-status';
import * as fc from 'fast-check';
import t from 'tap';
import { StandInLog } from '../testing/gateway-stand-in.js';
import { type StoreUnderTest, storeUnderTest } from '../testing/store-under-test.js';
import { registerCampaignEffects } from './campaign-effects.js';
import { joinSites } from './campaign-records.js';
import { counterOf, counters } from './progress.js';

const zero = { total: 0, ...Object.fromEntries(counters.map((name) => [name, 0])) } as Record<
  'total' | (typeof counters)[number],
  number
>;

const insertRunning = (store: StoreUnderTest, id: string) =>
  store.engine.write(async (tx) => {
    await tx.db
      .insertInto('campaigns')
      .values({
        campaign_id: id,
        display_name: id,
        firmware_id: 'm@2',
        target: '{"model":"m","device_ids":[],"current_versions":[]}',
        policy: '{}',
        target_sites: '[]',
        state: 'running',
        version: 1,
        created_at: 1,
        started_at: 1,
        ended_at: null,
        cancel_reason: '',
        ...zero,
      })
      .execute();
    await joinSites(tx, id, ['a']);
  });

const execution = (campaign: string, device: string, status: ExecutionStatus) => ({
  kind: 'execution',
  body: {
    campaign,
    device,
    status,
    attempt: 1,
    progress: null,
    from_version: null,
    to_version: '2',
    error: null,
  },
});

const open = async (t: Parameters<typeof storeUnderTest>[0]) => {
  const store = await storeUnderTest(t);
  registerCampaignEffects(store);
  return store;
};

/** The counters of a campaign as they are kept, and as a scan of its executions finds them. */
const counted = async ({ engine }: StoreUnderTest, campaign: string) => {
  const kept = await engine.read
    .selectFrom('campaigns')
    .select(['total', ...counters])
    .where('campaign_id', '=', campaign)
    .executeTakeFirstOrThrow();
  const rows = await engine.read
    .selectFrom('executions')
    .select('status')
    .where('campaign_id', '=', campaign)
    .execute();
  const scanned = { ...zero, total: rows.length };
  for (const { status } of rows) scanned[counterOf(status)] += 1;
  return { kept, scanned };
};

const entry = fc.record({
  campaign: fc.constantFrom('c1', 'c2', 'unknown'),
  device: fc.constantFrom('d1', 'd2', 'd3'),
  status: fc.constantFrom(...executionStatuses),
});
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
        all: [] as ReturnType<typeof execution>[],
      }));
      const isFenced = (log: number) => ({ isFenced: log === 2 });
      const sent: { batch: Parameters<StoreUnderTest['ingest']>[0]; log: number }[] = [];
      for (const step of actions) {
        if (step.type === 'report') {
          const own = logs[step.log];
          if (own === undefined) continue;
          const entries = step.entries.map(({ campaign, device, status }) =>
            execution(campaign, device, status),
          );
          own.all.push(...entries);
          const batch = await own.log.batch(entries);
          sent.push({ batch, log: step.log });
          await store.ingest(batch, isFenced(step.log));
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
  t.match((await counted(store, 'c1')).kept, { total: 1, succeeded: 1, in_progress: 0 });
});

t.test('what a fenced gateway says does not stand against its successor', async (t) => {
  const store = await open(t);
  await insertRunning(store, 'c1');
  const fenced = { isFenced: true };
  const older = new StandInLog('state');
  const owner = new StandInLog('state');
  await store.ingest(await older.batch([execution('c1', 'd1', 'failed')]), fenced);
  t.match((await counted(store, 'c1')).kept, { failed: 1 }, 'it saw that happen');
  await store.ingest(await owner.batch([execution('c1', 'd1', 'succeeded')]));
  await store.ingest(
    await older.batch([
      execution('c1', 'd1', 'rolled_back'),
      { kind: 'campaign_settled', body: { campaign: 'c1' } } as never,
    ]),
    fenced,
  );
  t.match((await counted(store, 'c1')).kept, { total: 1, succeeded: 1, failed: 0 });
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
