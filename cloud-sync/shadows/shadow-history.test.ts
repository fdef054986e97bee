import t, { type Test } from 'tap';
import { ensureDevice } from '../devices/device-records.js';
import { Retention } from '../store/retention.js';
import { StandInLog } from '../testing/gateway-stand-in.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import { changeShadow } from './change-shadow.js';
import { agingChanges } from './forget-shadows.js';
import { type ChangeFilter, listChanges } from './list-changes.js';
import { registerShadowEffects } from './shadow-effects.js';
import { deleteShadow, writePatch } from './shadow-replica.js';

const dayMs = 86_400_000;
const all: ChangeFilter = { site: 'a', path: [], writer: '' };

const open = async (t: Test, historyBytes?: number) => {
  const clock = { now: 1_000 * dayMs };
  const now = () => clock.now;
  const store = await storeUnderTest(t, {
    now,
    ...(historyBytes === undefined ? {} : { historyBytes }),
  });
  registerShadowEffects(store);
  await store.engine.write(async (tx) => {
    await ensureDevice(tx, 'a', 'd');
    await ensureDevice(tx, 'a', 'e');
  });
  const write = (
    desired: Record<string, number | string | null>,
    device = 'd',
    writer = 'cloud:ann',
  ) =>
    store.engine.write((tx) =>
      changeShadow(store, tx, { site: 'a', device, shadow: '-', writer }, (before, context) =>
        writePatch(before, { desired }, context),
      ),
    );
  const remove = (device = 'd') =>
    store.engine.write((tx) =>
      changeShadow(
        store,
        tx,
        { site: 'a', device, shadow: '-', writer: 'cloud:ann' },
        deleteShadow,
      ),
    );
  const list = async (filter: Partial<ChangeFilter> = {}, limit = 100, before?: number) =>
    listChanges(store.engine.read, { ...all, ...filter }, { before, limit });
  const versions = async (filter: Partial<ChangeFilter> = {}) =>
    (await list(filter)).rows.map(({ version, is_deletion }) => (is_deletion ? -version : version));
  const shadowRow = (device = 'd') =>
    store.engine.read
      .selectFrom('shadows')
      .selectAll()
      .where('device_id', '=', device)
      .executeTakeFirstOrThrow();
  const history = () =>
    store.engine.read.selectFrom('shadow_histories').selectAll().executeTakeFirstOrThrow();
  const retention = new Retention(
    {
      engine: store.engine,
      now,
      schedule: () => ({ stop: async () => undefined }),
      log: { info: () => undefined, error: (data) => t.fail(JSON.stringify(data)) },
    },
    {
      ...{ telemetryDays: 1, commandDays: 1, executionDays: 1, rowsAtOnce: 2 },
      others: [agingChanges(store, 30)],
    },
  );
  const forget = () => retention.run();
  return { ...store, clock, write, remove, list, versions, shadowRow, history, forget };
};

t.test('keeps who changed what from what to what, whichever end it was', async (t) => {
  const { write, ingest, list, clock } = await open(t);
  await write({ a: 1, b: 2 });
  await write({ a: 1 });
  t.equal((await list()).rows.length, 1, 'what is written again as it was is no change');
  const stamp = { wall: clock.now - dayMs, counter: 0, replica: 'site' };
  const operations = [
    { path: ['reported', 'a'], value: 1, stamp: { ...stamp, writer: 'device:d' } },
    {
      path: ['desired', 'c'],
      value: 3,
      stamp: { ...stamp, counter: 1, writer: 'site:bob' },
      trusted: false,
    },
  ];
  const body = { device: 'd', shadow: '-', operations };
  await ingest(await new StandInLog('state').batch([{ kind: 'shadow', body }]));
  const { rows } = await list();
  t.match(rows, [
    {
      version: 3,
      writer: 'site:bob',
      is_trusted: 0,
      changes: [{ path: ['desired', 'c'], after: 3 }],
    },
    { version: 3, writer: 'device:d', is_trusted: 1, written_at: stamp.wall, at: clock.now },
    {
      version: 1,
      writer: 'cloud:ann',
      changes: [{ after: 1 }, { path: ['desired', 'b'], after: 2 }],
    },
  ]);
  t.match((await list({ writer: 'site' })).rows, [{ writer: 'site:bob' }]);
  t.same((await list({ writer: 'sit' })).rows, []);
  t.match((await list({ path: ['reported'] })).rows, [{ writer: 'device:d' }]);
  const [onlyB] = (await list({ path: ['desired', 'b'] })).rows;
  t.same(onlyB?.changes, [{ path: ['desired', 'b'], after: 2 }], 'without the other leaves');
});

t.test('pages, and finds times and versions', async (t) => {
  const { write, remove, list, versions, clock } = await open(t);
  for (let version = 1; version <= 6; version += 1) {
    await write({ a: version });
    await write({ a: version }, 'e');
    clock.now += 1_000;
  }
  await remove();
  await write({ a: 'new' });
  const d = { device: 'd', shadow: '-' };
  t.same(await versions(d), [7, -6, 6, 5, 4, 3, 2, 1]);
  t.same(await versions({ ...d, afterVersion: 4, untilVersion: 6 }), [6, 5]);
  t.same(
    await versions({ ...d, afterVersion: 6 }),
    [7, -6],
    'a deletion came after what it deleted',
  );
  const start = 1_000 * dayMs + 2_000;
  t.same(await versions({ ...d, start, end: start + 2_000 }), [4, 3]);
  t.equal((await list()).rows.length, 14);
  const seen = [];
  let before: number | undefined;
  do {
    const page = await list({ device: 'd' }, 3, before);
    seen.push(...page.rows.map(({ position }) => position));
    before = page.next;
  } while (before !== undefined);
  t.equal(new Set(seen).size, 8);
  t.same(
    seen,
    [...seen].sort((x, y) => y - x),
  );
});

t.test('a deletion of nothing has its author too', async (t) => {
  const { write, remove, list } = await open(t);
  await write({ a: 1 });
  await write({ a: null });
  await remove();
  t.match((await list({}, 1)).rows, [{ is_deletion: 1, writer: 'cloud:ann', changes: [] }]);
});

t.test(
  'stays within its bytes, counts what went, and says from where on it is whole',
  async (t) => {
    const { write, list, history, shadowRow, clock } = await open(t, 5_000);
    await write({ a: 'first' }, 'e');
    for (let at = 0; at < 60; at += 1) {
      clock.now += 1;
      await write({ a: at });
      t.ok((await history()).bytes <= 5_000);
    }
    const { rows } = await list();
    const { dropped_changes, dropped_until, bytes } = await history();
    t.equal(dropped_changes + rows.length, 61);
    t.equal(
      bytes,
      rows.reduce((sum, row) => sum + row.bytes, 0),
    );
    const oldest = rows.at(-1);
    t.equal((await shadowRow()).history_after, (oldest?.version ?? 0) - 1);
    t.equal((await shadowRow('e')).history_after, 1, 'nothing of it is left');
    t.equal(dropped_until, (oldest?.at ?? 0) - 1);
  },
);

t.test('is forgotten when it is old', async (t) => {
  const { forget, clock, write, versions, shadowRow, history } = await open(t);
  await write({ a: 1 });
  clock.now += 29 * dayMs;
  await write({ a: 2 });
  await forget();
  t.same(await versions(), [2, 1]);
  clock.now += dayMs;
  await forget();
  t.same(await versions(), [2]);
  t.equal((await shadowRow()).history_after, 1);
  t.match(await history(), { dropped_changes: 0 }, 'what had its time was not dropped');
  clock.now += 30 * dayMs;
  await forget();
  t.same(await versions(), []);
  t.equal((await history()).bytes, 0);
});

t.test('a shadow that is older than its history says so', async (t) => {
  const { engine, write, shadowRow } = await open(t);
  await write({ a: 1 });
  await engine.write(({ db }) => db.updateTable('shadows').set({ history_after: -1 }).execute());
  await write({ a: 2 });
  t.equal((await shadowRow()).history_after, 1);
  await write({ a: 3 });
  t.equal((await shadowRow()).history_after, 1);
});
