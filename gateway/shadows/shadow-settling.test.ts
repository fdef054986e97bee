import { renderShadow } from '@holdfast/protos/semantics/shadow-document';
import {
  applyOperations,
  conflictsOf,
  emptyShadow,
  type ShadowEdit,
  type ShadowState,
} from '@holdfast/protos/semantics/shadow-merge';
import { parseShadowOperations } from '@holdfast/protos/semantics/shadow-operation-schema';
import t from 'tap';
import {
  cloudWrites,
  desired,
  device,
  effectsOf,
  journalOf,
  key,
  openFolder,
  openSite,
  type ShadowSite,
  update,
} from './shadow-site-fixture.js';
import type { ShadowRequest } from './shadows.js';

const ann = { writer: 'site:ann' as const };
const level = ['desired', 'level'];

const settle = (keep: 'winner' | 'loser', more: object = {}): ShadowRequest => ({
  ...key,
  type: 'settle',
  writer: 'site:bob',
  path: level,
  keep,
  ...more,
});

const edit = (path: string, value?: ShadowEdit['value']): ShadowEdit => ({
  path: path.split('.'),
  ...(value === undefined ? {} : { value }),
});

/** Ann writes 4 on site at 5 s, the cloud 9 at 7 s, and neither knows. */
const bothWrite = async (site: ShadowSite): Promise<void> => {
  await site.shadows.request(update({ desired: { level: 4, other: 1 } }, ann));
  site.now = 8_000;
  await site.order(cloudWrites(emptyShadow, 7_000, desired(9)));
};

/** What the cloud comes to by the journal. */
const cloudAfter = async (site: ShadowSite, ...own: ReturnType<typeof cloudWrites>[]) => {
  let cloud: ShadowState = own.reduce(
    (state, written) => applyOperations(state, written),
    emptyShadow,
  );
  for (const { operations } of await journalOf(site)) {
    cloud = applyOperations(cloud, parseShadowOperations(operations));
  }
  return cloud;
};

for (const [keep, value] of [
  ['winner', 9],
  ['loser', 4],
] as const) {
  t.test(`a person keeps the ${keep}, and the cloud learns of it by the journal`, async (t) => {
    let site = await openSite(t, await openFolder(t));
    await bothWrite(site);
    site.now = 10_000;
    t.same(await site.shadows.request(settle(keep)), { accepted: true, version: 3 });
    site = await site.reopen();
    t.match(await site.shadows.get(key), { state: { desired: { level: value, other: 1 } } });
    t.same((await site.shadows.conflicts()).conflicts, []);
    t.match((await site.shadows.conflicts({ settled: true })).conflicts, [
      {
        path: level,
        detectedAt: 8_000,
        winner: { value: 9, stamp: { writer: 'cloud' } },
        loser: { value: 4, stamp: { writer: 'site:ann' } },
        settlement: { kept: keep, by: 'site:bob', at: 10_000 },
      },
    ]);
    const cloud = await cloudAfter(site, cloudWrites(emptyShadow, 7_000, desired(9)));
    t.same(conflictsOf(cloud), []);
    t.same(renderShadow(cloud).state, (await site.shadows.get(key))?.state);
    t.match(await site.shadows.request(settle(keep)), { code: 404 });
  });
}

t.test('whatever is written over both settles it as well, at either end', async (t) => {
  const site = await openSite(t, await openFolder(t));
  await bothWrite(site);
  const cloud = await cloudAfter(site, cloudWrites(emptyShadow, 7_000, desired(9)));
  await site.order(cloudWrites(cloud, 9_000, desired(1)));
  t.match((await site.shadows.conflicts({ settled: true })).conflicts, [
    { settlement: { kept: 'other', by: 'cloud', at: 8_000 } },
  ]);
});

t.test('who keeps the deletion of a shadow does not make it anew', async (t) => {
  const site = await openSite(t, await openFolder(t));
  await site.shadows.request(update({ desired: { level: 4 } }, ann));
  await site.shadows.request({ ...key, type: 'delete', writer: device });
  await site.order(cloudWrites(emptyShadow, 3_000, desired(9)));
  t.equal(await site.shadows.get(key), undefined);
  t.match(await site.shadows.request(settle('winner')), { accepted: true });
  t.same((await site.shadows.conflicts()).conflicts, []);
  t.equal(await site.shadows.get(key), undefined);
  t.same(await site.shadows.namesOf(key.device), []);
});

t.test('names the deletion that won, though the shadow itself forgets it', async (t) => {
  let site = await openSite(t, await openFolder(t));
  await site.shadows.request(update({ desired: { level: 4 } }, ann));
  await site.order(cloudWrites(emptyShadow, 7_000, edit('desired.level')));
  const deletion = { winner: { stamp: { writer: 'cloud', wall: 7_000 } }, loser: { value: 4 } };
  t.match((await site.shadows.conflicts()).conflicts, [deletion]);
  site = await site.reopen();
  await site.shadows.request(update({ reported: { level: 4 } }));
  t.match((await site.shadows.conflicts()).conflicts, [deletion]);
  await site.shadows.request(settle('loser'));
  t.match((await site.shadows.conflicts({ settled: true })).conflicts, [
    { ...deletion, settlement: { kept: 'loser' } },
  ]);
});

t.test('an optimistic lock and the limits hold for settling, too', async (t) => {
  const site = await openSite(t, await openFolder(t), { maxDocumentBytes: 90 });
  const text = 'x'.repeat(40);
  await site.shadows.request(update({ desired: { level: text } }, ann));
  await site.order(cloudWrites(emptyShadow, 7_000, desired(9)));
  await site.shadows.request(update({ desired: { more: text } }, ann));
  t.match(await site.shadows.request(settle('loser', { version: 1 })), { code: 409 });
  t.match(await site.shadows.request(settle('loser')), { code: 413 });
  t.match(await site.shadows.request(settle('winner')), { accepted: true });
});

t.test(
  'a rule of the plan settles what comes up, in the same commit, for either side',
  async (t) => {
    for (const [winner, value, kept] of [
      ['site', 4, 'loser'],
      ['cloud', 9, 'winner'],
    ] as const) {
      const site = await openSite(t, await openFolder(t));
      site.rules = [{ path: 'desired.level', winner }];
      await bothWrite(site);
      t.match(await site.shadows.get(key), { state: { desired: { level: value } }, version: 2 });
      t.same((await site.shadows.conflicts()).conflicts, []);
      t.match((await site.shadows.conflicts({ settled: true })).conflicts, [
        {
          settlement: { kept, by: 'policy', at: 8_000 },
          loser: { value: 4 },
          winner: { value: 9 },
        },
      ]);
      t.match((await journalOf(site)).at(-1), {
        operations: [{ path: level, value, stamp: { writer: 'policy' } }],
      });
      t.match((await effectsOf(site)).at(-1)?.change, { delta: { state: { level: value } } });
      const cloud = await cloudAfter(site, cloudWrites(emptyShadow, 7_000, desired(9)));
      t.same(conflictsOf(cloud), []);
      t.same(renderShadow(cloud).state, (await site.shadows.get(key))?.state);
    }
  },
);

t.test('the first rule counts, and what no rule names stays a conflict', async (t) => {
  const site = await openSite(t, await openFolder(t));
  site.rules = [
    { path: 'desired.mode.manual', winner: 'latest' },
    { path: 'desired.mode', winner: 'site' },
    { shadow: 'net', path: 'desired', winner: 'site' },
  ];
  const written = { mode: { manual: 1, speed: 2, limit: 3 }, level: 4 };
  await site.shadows.request(update({ desired: written }, ann));
  const theirs = [
    ...[edit('desired.mode.manual', 9), edit('desired.mode.speed'), edit('desired.mode.limit', 9)],
    edit('desired.level', 9),
  ];
  await site.order(cloudWrites(emptyShadow, 7_000, ...theirs));
  t.same((await site.shadows.get(key))?.state.desired, {
    mode: { manual: 9, speed: 2, limit: 3 },
    level: 9,
  });
  t.same((await site.shadows.conflicts()).conflicts.map(({ path }) => path.join('.')).sort(), [
    'desired.level',
    'desired.mode.manual',
  ]);
});

t.test('a rule that prefers a whole branch brings it back as it was', async (t) => {
  const site = await openSite(t, await openFolder(t));
  site.rules = [{ path: 'desired', winner: 'site' }];
  await site.shadows.request(update({ desired: { net: { a: 1, b: 2 }, level: 1 } }, ann));
  const before = await cloudAfter(site);
  await site.shadows.request(update({ desired: { net: { a: 5 } } }, ann));
  await site.order(cloudWrites(before, 9_000, edit('desired.net', 'off')));
  t.same((await site.shadows.get(key))?.state.desired, { net: { a: 5 }, level: 1 });
  t.same((await site.shadows.conflicts()).conflicts, []);
  const cloud = await cloudAfter(site, cloudWrites(before, 9_000, edit('desired.net', 'off')));
  t.same(renderShadow(cloud).state, (await site.shadows.get(key))?.state);
});

t.test('a rule is for what comes up, not for conflicts that there are', async (t) => {
  const site = await openSite(t, await openFolder(t));
  await bothWrite(site);
  site.rules = [{ path: 'desired', winner: 'site' }];
  await site.order(cloudWrites(emptyShadow, 9_000, edit('desired.new', 1)));
  t.equal((await site.shadows.conflicts()).conflicts.length, 1);
  t.match(await site.shadows.get(key), { state: { desired: { level: 9, new: 1 } } });
});

t.test('says of a write by a clock in doubt that it is no time', async (t) => {
  const site = await openSite(t, await openFolder(t));
  site.trusted = false;
  await site.shadows.request(update({ desired: { level: 4 } }, ann));
  site.trusted = true;
  await site.order(cloudWrites(emptyShadow, 7_000, desired(9)));
  const [conflict] = (await site.shadows.conflicts()).conflicts;
  t.match(conflict, { loser: { trusted: false, stamp: { writer: 'site:ann' } } });
  t.notOk(conflict?.winner && 'trusted' in conflict.winner);
});

t.test('a shadow holds so many losers and no more: the oldest go, counted and told', async (t) => {
  const site = await openSite(t, await openFolder(t), { maxLosers: 3 });
  const keys = [...Array(5).keys()].map((n) => `k${n}`);
  for (const name of keys) {
    site.now += 1;
    await site.shadows.request(update({ desired: { [name]: 'site' } }, ann));
  }
  const theirs = keys.map((name) => edit(`desired.${name}`, 'cloud'));
  await site.order(cloudWrites(emptyShadow, 7_000, ...theirs));
  t.same((await site.shadows.conflicts()).conflicts.map(({ path }) => path[1]).sort(), [
    'k2',
    'k3',
    'k4',
  ]);
  t.same(await site.shadows.conflictLosses(), { count: 2, lastAt: site.now });
  const told = await site.store.read.all<{ body: string }>(
    "SELECT body FROM journal_audit WHERE kind = 'shadow_conflicts_dropped'",
  );
  t.same(
    told.map(({ body }) => JSON.parse(body)),
    [{ device: key.device, shadow: '-', conflicts: 2 }],
  );
  t.match((await site.shadows.get(key))?.state.desired, { k0: 'cloud', k4: 'cloud' });
});

t.test('lists page by page, of a device or of all, and counts what is open', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const theirs = [...Array(7).keys()].map((n) => edit(`desired.k${n}`, 'cloud'));
  for (const device of ['pi-1', 'pi-2']) {
    const written = Object.fromEntries(theirs.map(({ path }) => [path[1] ?? '', 'site']));
    await site.shadows.request(update({ desired: written }, { ...ann, device }));
    await site.order(cloudWrites(emptyShadow, 7_000, ...theirs), { device });
  }
  const seen: string[] = [];
  for (let after: Parameters<typeof site.shadows.conflicts>[0] = {}; ; ) {
    const page = await site.shadows.conflicts({ ...after, limit: 4 });
    seen.push(...page.conflicts.map(({ device, path }) => `${device} ${path[1]}`));
    if (page.next === undefined) break;
    after = { after: page.next };
  }
  t.equal(new Set(seen).size, 14);
  t.equal((await site.shadows.conflicts({ device: 'pi-2' })).conflicts.length, 7);
  t.match(await site.shadows.list('pi-2'), [{ name: '-', version: 1, conflicts: 7 }]);
});
