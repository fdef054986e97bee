import {
  ConflictKeep,
  ConflictKept,
  ConflictWinner,
  type ShadowConflict,
  type WatchShadowResponse,
} from '@holdfast/protos/gen/holdfast/v1/shadows';
import { planHead } from '@holdfast/protos/link/plan-documents';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { canonicalSha256 } from '@holdfast/protos/semantics/canonical-json';
import { zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import {
  emptyShadow,
  mintOperations,
  type ShadowOperation,
} from '@holdfast/protos/semantics/shadow-merge';
import t, { type Test } from 'tap';
import * as v from 'valibot';
import { ensureDevice } from '../devices/device-records.js';
import { Retention } from '../store/retention.js';
import { type CloudUnderTest, cloudUnderTest } from '../testing/cloud-under-test.js';
import { dial, enrolStandIn, StandInLog } from '../testing/gateway-stand-in.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import { changeShadow } from './change-shadow.js';
import { agingConflicts } from './forget-shadows.js';
import { registerShadowEffects } from './shadow-effects.js';
import { readShadow } from './shadow-records.js';
import { writePatch } from './shadow-replica.js';

const name = 'sites/a/devices/d1/shadows/-';
const dayMs = 86_400_000;

const ofSite = (
  path: readonly string[],
  value: JsonValue | undefined,
  { writer = 'site:ann', now = Date.now() } = {},
): ShadowOperation[] =>
  mintOperations(emptyShadow, [value === undefined ? { path } : { path, value }], {
    ...{ replica: 'site', writer, seen: zeroTime },
    clock: { now, trusted: true },
  });

const open = async (t: Test) => {
  const cloud = await cloudUnderTest(t);
  const gateway = await enrolStandIn(cloud, 'a');
  const state = new StandInLog('state');
  const link = dial(gateway);
  t.teardown(() => link.close());
  link.hello({ journal: [state.position] });
  await link.next('welcome');
  const report = async (operations: readonly ShadowOperation[]) => {
    const body = { device: 'd1', shadow: '-', operations };
    link.say({ $case: 'journal', value: await state.batch([{ kind: 'shadow', body }]) });
    await link.next('journalCommitted');
  };
  await report(ofSite(['reported', 'temp'], 20, { writer: 'device:d1' }));
  return { cloud, report, link };
};

const set = (cloud: CloudUnderTest, desired: Record<string, unknown>) =>
  cloud.call(cloud.shadows, cloud.shadows.updateShadow, { name, desired, version: undefined });
const conflicts = async (cloud: CloudUnderTest, includeSettled = false) =>
  (
    await cloud.call(cloud.shadows, cloud.shadows.listConflicts, {
      ...{ parent: 'sites/-', pageSize: 0, pageToken: '', includeSettled },
    })
  ).conflicts;
const settle = (cloud: CloudUnderTest, conflict: ShadowConflict | undefined, keep: ConflictKeep) =>
  cloud.call(cloud.shadows, cloud.shadows.settleConflict, { name: conflict?.name ?? '', keep });

t.test('is settled by a person, who keeps either side', async (t) => {
  const { cloud, report } = await open(t);
  await set(cloud, { mode: 'a', limit: 1 });
  await report([...ofSite(['desired', 'mode'], 'b'), ...ofSite(['desired', 'limit'], undefined)]);
  const found = await conflicts(cloud);
  const mode = found.find(({ path }) => path.join('.') === 'desired.mode');
  const limit = found.find(({ path }) => path.join('.') === 'desired.limit');
  t.match(mode, {
    winner: { valueJson: '"b"' },
    loser: { valueJson: '"a"' },
    settlement: undefined,
  });
  const loser = await settle(cloud, mode, ConflictKeep.CONFLICT_KEEP_LOSER);
  t.match(loser.settlement, {
    writer: 'cloud:admin',
    kept: ConflictKept.CONFLICT_KEPT_LOSER,
    settleTime: Date,
  });
  const winner = await settle(cloud, limit, ConflictKeep.CONFLICT_KEEP_WINNER);
  t.match(winner.settlement, { kept: ConflictKept.CONFLICT_KEPT_WINNER });
  const shadow = await cloud.call(cloud.shadows, cloud.shadows.getShadow, { name });
  t.same(shadow.desired, { mode: 'a' });
  t.same(await conflicts(cloud), []);
  t.equal((await conflicts(cloud, true)).length, 2);
  await t.rejects(settle(cloud, mode, ConflictKeep.CONFLICT_KEEP_WINNER), {
    code: 'RESOURCE_STATE_WRONG',
    message: /by cloud:admin/,
  });
  await t.rejects(settle(cloud, limit, ConflictKeep.CONFLICT_KEEP_UNSPECIFIED), {
    code: 'REQUEST_INVALID',
  });
  const none = `${name}/conflicts/${'0'.repeat(64)}`;
  for (const [wrong, code] of [
    [none, 'RESOURCE_NOT_FOUND'],
    [name, 'REQUEST_INVALID'],
  ] as const) {
    await t.rejects(
      cloud.call(cloud.shadows, cloud.shadows.settleConflict, {
        ...{ name: wrong, keep: ConflictKeep.CONFLICT_KEEP_LOSER },
      }),
      { code },
    );
  }
});

t.test('who keeps the deletion of a shadow does not make it anew', async (t) => {
  const { cloud, report } = await open(t);
  await set(cloud, { mode: 'a' });
  await cloud.call(cloud.shadows, cloud.shadows.deleteShadow, { name });
  await report(ofSite(['desired', 'mode'], 'b', { now: 1_000 }));
  const [conflict] = await conflicts(cloud);
  t.match(conflict, { loser: { valueJson: '"b"' } });
  await settle(cloud, conflict, ConflictKeep.CONFLICT_KEEP_WINNER);
  t.same(await conflicts(cloud), []);
  await t.rejects(cloud.call(cloud.shadows, cloud.shadows.getShadow, { name }), {
    code: 'RESOURCE_NOT_FOUND',
  });
});

t.test(
  'is settled by whoever writes there knowing both; what is reported by its device',
  async (t) => {
    const { cloud, report } = await open(t);
    await set(cloud, { mode: 'a' });
    await report(ofSite(['desired', 'mode'], 'b'));
    await set(cloud, { mode: 'c' });
    const [settled] = await conflicts(cloud, true);
    t.match(settled?.settlement, { kept: ConflictKept.CONFLICT_KEPT_OTHER, writer: 'cloud:admin' });

    await cloud.call(cloud.shadows, cloud.shadows.deleteShadow, { name });
    const late = { writer: 'device:d1', now: Date.now() + 60_000 };
    await report(ofSite(['reported', 'temp'], 21, late));
    const [reported] = await conflicts(cloud);
    t.match(reported, { path: ['reported'], loser: { valueJson: '' } });
    await t.rejects(settle(cloud, reported, ConflictKeep.CONFLICT_KEEP_WINNER), {
      code: 'RESOURCE_STATE_WRONG',
      message: /next report/,
    });
  },
);

t.test('is forgotten after 90 days, with what was lost in it', async (t) => {
  const clock = { now: 1_000 * dayMs };
  const store = await storeUnderTest(t, { now: () => clock.now });
  registerShadowEffects(store);
  await store.engine.write((tx) => ensureDevice(tx, 'a', 'd'));
  const key = { site: 'a', device: 'd', shadow: '-', writer: 'cloud:ann' };
  const set = (desired: Record<string, number>) =>
    store.engine.write((tx) =>
      changeShadow(store, tx, key, (before, context) => writePatch(before, { desired }, context)),
    );
  await set({ open: 1, settled: 1 });
  const operations = ['open', 'settled'].flatMap((leaf) =>
    ofSite(['desired', leaf], 2, { now: clock.now + 1 }),
  );
  const body = { device: 'd', shadow: '-', operations };
  await store.ingest(await new StandInLog('state').batch([{ kind: 'shadow', body }]));
  const retention = new Retention(
    {
      engine: store.engine,
      now: () => clock.now,
      schedule: () => ({ stop: async () => undefined }),
      log: { info: () => undefined, error: (data) => t.fail(JSON.stringify(data)) },
    },
    {
      ...{ telemetryDays: 1, commandDays: 1, executionDays: 1, rowsAtOnce: 1 },
      others: [agingConflicts(90)],
    },
  );
  const left = async () => ({
    rows: (await store.engine.read.selectFrom('shadow_conflicts').select('conflict').execute()).map(
      ({ conflict }) => JSON.parse(conflict).path[1],
    ),
    lost: (await readShadow(store.engine.read, key)).state.lost.size,
  });
  clock.now += 50 * dayMs;
  await set({ settled: 3 });
  const { version } = await readShadow(store.engine.read, key);
  await retention.run();
  t.match(await left(), { rows: { length: 2 } });
  clock.now += 40 * dayMs;
  await retention.run();
  t.same((await left()).rows, ['settled'], 'counted from its settling');
  clock.now += 50 * dayMs;
  await retention.run();
  t.same(await left(), { rows: [], lost: 0 });
  t.equal((await readShadow(store.engine.read, key)).version, version, 'nothing that can be seen');
});

t.test('who wins is said for a site and for all, and stands in their plans', async (t) => {
  const { cloud, link } = await open(t);
  const { shadows } = cloud;
  const get = (site: string) =>
    cloud.call(shadows, shadows.getConflictPolicy, { name: `sites/${site}/conflictPolicy` });
  const rule = (path: string, winner: ConflictWinner, shadow = '') => ({ shadow, path, winner });
  const update = (site: string, rules: ReturnType<typeof rule>[], etag = '', mask?: string[]) =>
    cloud.call(shadows, shadows.updateConflictPolicy, {
      policy: { name: `sites/${site}/conflictPolicy`, rules, etag, updateTime: undefined },
      updateMask: mask,
    });
  t.match(await get('-'), { rules: [], etag: '0', updateTime: undefined });
  const ofSite = rule('desired.mode', ConflictWinner.CONFLICT_WINNER_SITE, '-');
  const ofAll = rule('desired', ConflictWinner.CONFLICT_WINNER_CLOUD);
  t.match(await update('a', [ofSite], '0', ['rules']), { rules: [ofSite], etag: '1' });
  await update('-', [ofAll]);
  t.match(await get('-'), { rules: [ofAll], etag: '1' });
  for (const [wrong, code] of [
    [() => update('a', [ofSite], '0'), 'RESOURCE_CONFLICT'],
    [() => update('a', [ofSite], '', ['name']), 'REQUEST_INVALID'],
    [() => update('a', [rule('mode', ConflictWinner.CONFLICT_WINNER_SITE)]), 'REQUEST_INVALID'],
    [
      () => update('a', [rule('desired', ConflictWinner.CONFLICT_WINNER_UNSPECIFIED)]),
      'REQUEST_INVALID',
    ],
    [() => update('none', []), 'RESOURCE_NOT_FOUND'],
  ] as const) {
    await t.rejects(wrong(), { code });
  }
  const body = {
    shadow_conflicts: [
      { shadow: '-', path: 'desired.mode', winner: 'site' },
      { path: 'desired', winner: 'cloud' },
    ],
  };
  const isInPlan = async (): Promise<boolean> => {
    const { jws } = await link.next('planHead');
    const head = v.parse(
      planHead,
      JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString()),
    );
    return head.documents.some(
      ({ kind, id, revision, sha256 }) =>
        kind === 'policy' && sha256 === canonicalSha256({ kind, id, revision, body }),
    );
  };
  while (!(await isInPlan()));
});

t.test('a watch over the API tells what was committed, whoever wrote it', async (t) => {
  const { cloud, report } = await open(t);
  const call = cloud.shadows.watchShadow({ name, afterVersion: undefined }, cloud.metadata);
  call.on('error', () => undefined);
  t.teardown(() => call.cancel());
  const said = (call as AsyncIterable<WatchShadowResponse>)[Symbol.asyncIterator]();
  t.match((await said.next()).value, { shadow: { version: 1n, reported: { temp: 20 } } });
  await set(cloud, { mode: 'a' });
  t.match((await said.next()).value, {
    changes: [
      {
        shadow: name,
        version: 2n,
        writer: 'cloud:admin',
        changes: [{ path: ['desired', 'mode'], beforeJson: '', afterJson: '"a"' }],
      },
    ],
  });
  await report(ofSite(['reported', 'temp'], 22, { writer: 'device:d1', now: Date.now() + 1 }));
  t.match((await said.next()).value, { changes: [{ version: 3n, writer: 'device:d1' }] });
  const listed = await cloud.call(cloud.shadows, cloud.shadows.listShadowChanges, {
    ...{ parent: name, pageSize: 2, pageToken: '', startTime: undefined, endTime: undefined },
    ...{ path: [], writer: '', afterVersion: undefined, untilVersion: undefined },
  });
  t.match(listed, { changes: [{ version: 3n }, { version: 2n }], completeAfterVersion: 0n });
  t.not(listed.nextPageToken, '');
});

t.test('more losers than a shadow may have go, the oldest first', async (t) => {
  const store = await storeUnderTest(t, { now: () => 10_000 });
  registerShadowEffects(store);
  await store.engine.write((tx) => ensureDevice(tx, 'a', 'd'));
  const key = { site: 'a', device: 'd', shadow: '-', writer: 'cloud:ann' };
  await store.engine.write((tx) =>
    changeShadow(store, tx, key, (before, context) =>
      writePatch(before, { desired: { a: 0 } }, context),
    ),
  );
  const operations = Array.from({ length: 1_003 }, (_, at) => ({
    path: ['desired', 'a'],
    value: at,
    stamp: { wall: 20_000 + at, counter: 0, replica: `s${at}`, writer: 'site:ann' },
  }));
  const body = { device: 'd', shadow: '-', operations };
  await store.ingest(await new StandInLog('state').batch([{ kind: 'shadow', body }]));
  t.equal((await readShadow(store.engine.read, key)).state.lost.size, 1_000);
  const rows = await store.engine.read.selectFrom('shadow_conflicts').select('conflict').execute();
  t.equal(rows.length, 1_000);
  t.notOk(rows.some(({ conflict }) => JSON.parse(conflict).loser.stamp.wall === 10_000));
});
