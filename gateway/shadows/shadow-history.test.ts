import { emptyShadow } from '@holdfast/protos/semantics/shadow-merge';
import t from 'tap';
import type { HistoryChange } from './shadow-history-rows.js';
import {
  cloudWrites,
  desired,
  device,
  key,
  openFolder,
  openSite,
  type ShadowSite,
  silent,
  update,
} from './shadow-site-fixture.js';
import { ShadowUpkeep, type ShadowUpkeepOptions } from './shadow-upkeep.js';

const ann = { writer: 'site:ann' as const };
const dayMs = 86_400_000;

const changesOf = async (
  site: ShadowSite,
  filter: object = {},
): Promise<readonly HistoryChange[]> =>
  (await site.shadows.history.page(key, { limit: 100, ...filter })).changes;

const upkeepOf = async (
  site: ShadowSite,
  options: ShadowUpkeepOptions = {},
): Promise<ShadowUpkeep> => {
  const schedule = () => ({ stop: async () => undefined });
  const upkeep = new ShadowUpkeep({ ...site, schedule, log: silent }, options);
  await upkeep.open();
  return upkeep;
};

t.test('says what changed, by whom and when, the newest first', async (t) => {
  let site = await openSite(t, await openFolder(t));
  await site.shadows.request(update({ reported: { level: 1, list: [1] } }));
  site.now = 6_000;
  site.trusted = false;
  await site.shadows.request(update({ desired: { level: 2 } }, ann));
  site.trusted = true;
  await site.shadows.request(update({ desired: { level: 2 } }, ann));
  site.now = 9_000;
  await site.order(cloudWrites(emptyShadow, 8_000, desired(3)));
  await site.shadows.request({ ...key, type: 'delete', writer: device });
  site = await site.reopen();
  const at = { trusted: true, writtenAt: null, deleted: false };
  t.match(await changesOf(site), [
    {
      version: 4,
      writer: device,
      deleted: true,
      changes: [
        { path: ['desired', 'level'], before: 3 },
        { path: ['reported', 'level'], before: 1 },
        { path: ['reported', 'list'], before: [1] },
      ],
    },
    {
      ...at,
      version: 4,
      at: 9_000,
      writer: 'cloud',
      writtenAt: 8_000,
      changes: [{ path: ['desired', 'level'], before: 2, after: 3 }],
    },
    { ...at, version: 2, at: 6_000, trusted: false, writer: 'site:ann', changes: [{ after: 2 }] },
    { ...at, version: 1, at: 5_000, writer: device, changes: [{ after: 1 }, { after: [1] }] },
  ]);
  t.same((await changesOf(site, { since: 9_000 })).length, 2);
  t.same(
    (await changesOf(site, { fromVersion: 1, toVersion: 2 })).map(({ version }) => version),
    [2],
  );
  t.same(
    (await changesOf(site, { path: ['reported', 'list'] })).map(({ changes }) => changes.length),
    [1, 1],
    'only the leaves that were asked for',
  );
});

t.test('a merge of several writers is a row for each, and one of policy says so', async (t) => {
  const site = await openSite(t, await openFolder(t));
  site.rules = [{ path: 'desired.level', winner: 'site' }];
  await site.shadows.request(update({ desired: { level: 4 } }, ann));
  const theirs = cloudWrites(emptyShadow, 7_000, desired(9), { path: ['desired', 'a'], value: 1 });
  await site.order(theirs);
  t.match(await changesOf(site), [
    { version: 2, writer: 'cloud', changes: [{ path: ['desired', 'a'] }] },
    { version: 1, writer: 'site:ann' },
  ]);
  t.equal((await changesOf(site)).length, 2, 'the level is what it was');
});

t.test('pages to the end, past what a filter leaves out', async (t) => {
  const site = await openSite(t, await openFolder(t));
  for (let n = 1; n <= 12; n += 1)
    await site.shadows.request(update({ reported: { n, [`k${n}`]: n } }));
  const seen: number[] = [];
  for (let before: HistoryChange | undefined; ; ) {
    const page = await site.shadows.history.page(key, { before, limit: 5 });
    seen.push(...page.changes.map(({ version }) => version));
    if (page.next === undefined) break;
    before = page.changes.at(-1);
  }
  t.same(seen, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  t.same(
    (await changesOf(site, { path: ['reported', 'k3'] })).map(({ version }) => version),
    [3],
  );
});

t.test('keeps the history for its days, and says since which version it is whole', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const upkeep = await upkeepOf(site, { historyMs: 30 * dayMs });
  await site.shadows.request(update({ reported: { n: 1 } }));
  await site.shadows.request(update({ desired: { n: 2 } }, ann));
  site.now += 20 * dayMs;
  await site.shadows.request(update({ reported: { n: 3 } }));
  site.now += 11 * dayMs;
  site.trusted = false;
  await upkeep.run();
  t.equal((await changesOf(site)).length, 3, 'nothing grows old by a clock in doubt');
  site.trusted = true;
  await upkeep.run();
  t.same(
    (await changesOf(site)).map(({ version }) => version),
    [3],
  );
  t.match(await site.shadows.history.begin(key), { version: 2 });
  t.equal(await site.shadows.history.losses(), undefined, 'that was its time');
  t.match(await site.shadows.get(key), { state: { reported: { n: 3 }, desired: { n: 2 } } });
  await upkeep.close();
});

t.test(
  'what was put down while nobody knew the time gets it, and does not go for its looks',
  async (t) => {
    const site = await openSite(t, await openFolder(t));
    const upkeep = await upkeepOf(site);
    site.trusted = false;
    await site.shadows.request(update({ desired: { level: 4 } }, ann));
    await site.order(cloudWrites(emptyShadow, 7_000, desired(9)));
    site.trusted = true;
    site.now = 5_000 + 400 * dayMs;
    await upkeep.run();
    t.equal((await changesOf(site)).length, 2, 'it only seems to be old');
    t.equal((await site.shadows.conflicts()).conflicts.length, 1);
    await site.shadows.request(update({ reported: { level: 4 } }));
    const at = site.now - 60_000;
    await upkeep.correct({ from: 4_000, to: 6_000, step: at - 5_000 });
    t.match(await changesOf(site), [
      { trusted: true },
      { at, trusted: true },
      { at, trusted: true },
    ]);
    site.now += 31 * dayMs;
    await upkeep.run();
    t.same(await changesOf(site), []);
    t.equal((await site.shadows.conflicts()).conflicts.length, 1);
    site.now += 61 * dayMs;
    await upkeep.run();
    t.same((await site.shadows.conflicts({ settled: true })).conflicts, []);
    await upkeep.close();
  },
);

t.test('what nobody could ever date goes with what came after it', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const upkeep = await upkeepOf(site);
  for (const [n, trusted] of [
    [1, true],
    [2, false],
    [3, true],
    [4, false],
  ] as const) {
    site.trusted = trusted;
    await site.shadows.request(update({ reported: { n } }));
  }
  site.trusted = true;
  site.now += 31 * dayMs;
  await upkeep.run();
  t.same(
    (await changesOf(site)).map(({ version }) => version),
    [4],
  );
  await upkeep.close();
});

t.test('a full history lets go what devices reported first, and counts it', async (t) => {
  const site = await openSite(t, await openFolder(t), { historyBytes: 20_000 });
  const upkeep = await upkeepOf(site);
  await site.shadows.request(update({ desired: { mode: 'a' } }, ann));
  for (let n = 0; n < 100; n += 1) {
    site.now += 1;
    await site.shadows.request(update({ reported: { n } }));
    await upkeep.run();
    t.ok(site.shadows.history.bytes <= 20_000);
  }
  const kept = await changesOf(site);
  t.equal(kept.at(-1)?.writer, 'site:ann');
  t.ok(kept.length > 30 && kept.length < 100);
  const losses = await site.shadows.history.losses();
  t.equal((losses?.count ?? 0) + kept.length, 101);
  t.equal(losses?.lastAt, (kept.at(-2)?.at ?? 0) - 1);
  await upkeep.close();
  const again = await site.reopen({ historyBytes: 20_000 });
  t.equal(again.shadows.history.bytes, site.shadows.history.bytes);
});

t.test(
  'settled and open conflicts are kept for their days, and nothing visible goes with them',
  async (t) => {
    const site = await openSite(t, await openFolder(t));
    const upkeep = await upkeepOf(site, { conflictMs: 90 * dayMs });
    const keys = ['a', 'b', 'c'];
    await site.shadows.request(update({ desired: { a: 1, b: 1, c: 1 } }, ann));
    const theirs = keys.map((name) => ({ path: ['desired', name], value: 2 }));
    await site.order(cloudWrites(emptyShadow, 7_000, ...theirs));
    const settle = (name: string) =>
      site.shadows.request({
        ...key,
        type: 'settle',
        ...ann,
        path: ['desired', name],
        keep: 'loser',
      });
    await settle('a');
    site.now += 50 * dayMs;
    await settle('b');
    site.now += 41 * dayMs;
    const before = await site.shadows.get(key);
    await upkeep.run();
    t.match((await site.shadows.conflicts({ settled: true })).conflicts, [
      { path: ['desired', 'b'], settlement: { kept: 'loser' } },
    ]);
    t.equal((await site.shadows.conflicts({ settled: true })).conflicts.length, 1);
    t.same({ ...(await site.shadows.get(key)), timestamp: 0 }, { ...before, timestamp: 0 });
    const row = await site.store.read.get<{ state: string }>('SELECT state FROM shadows');
    t.same(JSON.parse(row?.state ?? '').lost, [], 'nor does the shadow hold them any more');
    await upkeep.close();
  },
);

t.test('a site with more conflicts than it keeps lets settled ones go first', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const upkeep = await upkeepOf(site, { maxConflicts: 20 });
  const meet = async (name: string, settle: boolean): Promise<void> => {
    site.now += 1;
    await site.shadows.request(update({ desired: { [name]: 'site' } }, ann));
    await site.order(
      cloudWrites(emptyShadow, site.now, { path: ['desired', name], value: 'cloud' }),
    );
    const request = {
      ...key,
      type: 'settle',
      ...ann,
      path: ['desired', name],
      keep: 'winner',
    } as const;
    if (settle) await site.shadows.request(request);
    await upkeep.run();
  };
  for (let n = 0; n < 10; n += 1) await meet(`s${n}`, true);
  for (let n = 0; n < 15; n += 1) await meet(`o${n}`, false);
  const rows = (await site.shadows.conflicts({ settled: true })).conflicts;
  t.ok(rows.length <= 20);
  t.equal(rows.filter(({ settlement }) => settlement === undefined).length, 15);
  t.equal(await site.shadows.conflictLosses(), undefined);
  for (let n = 15; n < 40; n += 1) await meet(`o${n}`, false);
  const open = (await site.shadows.conflicts()).conflicts;
  t.ok(open.length <= 20);
  t.equal(open.at(-1)?.path[1], 'o39');
  t.equal((await site.shadows.conflictLosses())?.count, 40 - open.length);
  t.equal(Object.keys((await site.shadows.get(key))?.state.desired ?? {}).length, 50);
  await upkeep.close();
});
