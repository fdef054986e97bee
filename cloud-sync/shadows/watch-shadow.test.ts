import t from 'tap';
import { ensureDevice } from '../devices/device-records.js';
import type { Test } from '../testing/cloud-under-test.js';
import { storeUnderTest } from '../testing/store-under-test.js';
import { changeShadow } from './change-shadow.js';
import { agingChanges } from './forget-shadows.js';
import { deleteShadow, writePatch } from './shadow-replica.js';
import { ShadowWatches, type WatchedShadow, type WatchShadowOptions } from './watch-shadow.js';

const key = { site: 'a', device: 'd', shadow: '-', writer: 'cloud:ann' };

const open = async (t: Test, options: WatchShadowOptions = {}) => {
  const store = await storeUnderTest(t);
  await store.engine.write((tx) => ensureDevice(tx, 'a', 'd'));
  let reads = 0;
  let listeners = 0;
  const engine = {
    ...store.engine,
    read: new Proxy(store.engine.read, {
      get: (target, name) => {
        if (name === 'selectFrom') reads += 1;
        const member: unknown = Reflect.get(target, name);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    }),
  };
  const signals = {
    publish: store.signals.publish.bind(store.signals),
    subscribe: (...args: Parameters<typeof store.signals.subscribe>) => {
      listeners += 1;
      const stop = store.signals.subscribe(...args);
      return () => {
        listeners -= 1;
        stop();
      };
    },
  } as unknown as typeof store.signals;
  const watches = new ShadowWatches({ engine, signals }, { aliveMs: 60_000, ...options });
  const gone = new AbortController();
  return {
    ...store,
    watches,
    gone,
    watch: (after?: number) => watches.watch(key, after, gone.signal),
    counts: () => ({ reads, listeners }),
    write: (a: number) =>
      store.engine.write((tx) =>
        changeShadow(store, tx, key, (before, context) =>
          writePatch(before, { desired: { a } }, context),
        ),
      ),
    remove: () => store.engine.write((tx) => changeShadow(store, tx, key, deleteShadow)),
  };
};

const next = async (watched: AsyncGenerator<WatchedShadow>): Promise<unknown> => {
  const { value, done } = await watched.next();
  if (done === true || value === undefined) return 'over';
  if (value.kind === 'shadow') return `shadow ${value.row?.version ?? 'none'}`;
  if (value.kind === 'alive') return 'alive';
  return value.rows.map((row) => `${row.is_deletion ? 'deleted ' : ''}${row.version}`).join();
};

t.test('tells the shadow, then each change, also of a shadow that is not there yet', async (t) => {
  const { watch, write, remove, gone, counts } = await open(t);
  const watched = watch();
  t.equal(await next(watched), 'shadow none');
  const first = next(watched);
  await write(1);
  t.equal(await first, '1');
  // While its reader is busy.
  await write(2);
  await remove();
  await write(3);
  t.same([await next(watched), await next(watched), await next(watched)], ['2', 'deleted 2', '3']);
  const waiting = next(watched);
  gone.abort();
  t.equal(await waiting, 'over');
  t.equal(counts().listeners, 0);
});

t.test('goes on after a version', async (t) => {
  const { watch, write, remove } = await open(t);
  for (const value of [1, 2, 3]) await write(value);
  const resumed = watch(1);
  t.same([await next(resumed), await next(resumed)], ['2', '3']);
  await resumed.return(undefined);
  await remove();
  const afterAll = watch(3);
  t.equal(await next(afterAll), 'deleted 3');
  await afterAll.return(undefined);
  const ofAnother = watch(90);
  t.equal(await next(ofAnother), 'shadow none', 'as after a restore: it has no such version');
  await ofAnother.return(undefined);
});

t.test('gives the whole shadow where the history does not reach back', async (t) => {
  const { engine, history, watch, write } = await open(t);
  for (const value of [1, 2, 3]) await write(value);
  const forget = () =>
    agingChanges({ engine, history }, 0).forget(9_000, (some) =>
      engine.write((tx) => some(tx, 50)),
    );
  await forget();
  const watched = watch(1);
  t.equal(await next(watched), 'shadow 3');
  await write(4);
  t.equal(await next(watched), '4');
  await write(5);
  await forget();
  t.equal(await next(watched), 'shadow 5', 'also one that was watched, and too slow');
  await watched.return(undefined);
});

t.test('does not look while nothing is committed, and says that it is there', async (t) => {
  const { watch, counts, signals } = await open(t, { aliveMs: 5 });
  const watched = watch();
  await next(watched);
  t.equal(await next(watched), 'alive');
  const { reads } = counts();
  signals.publish('shadow:a/other/-');
  t.equal(await next(watched), 'alive');
  t.equal(counts().reads, reads);
  await watched.return(undefined);
});

t.test('ends after its time, and refuses more watches than it bears', async (t) => {
  const { watch } = await open(t, { longestMs: 5, maxWatchers: 1 });
  const watched = watch();
  await next(watched);
  await t.rejects(watch().next(), { code: 'REQUEST_THROTTLED' });
  t.equal(await next(watched), 'over');
  const another = watch();
  t.equal(await next(another), 'shadow none');
  await another.return(undefined);
});
