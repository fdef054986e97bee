import t from 'tap';
import type { HistoryPosition } from './shadow-history-rows.js';
import { key, openFolder, openSite, type ShadowSite, update } from './shadow-site-fixture.js';
import { type WatchTold, watchShadow } from './watch-shadow.js';

const versionOf = (told: WatchTold | undefined): number | undefined =>
  told?.kind === 'change' ? told.change.version : undefined;

const watch = (site: ShadowSite, after?: HistoryPosition, aliveMs = 60_000) => {
  const stop = new AbortController();
  const told = watchShadow(site.shadows.history, key, { after, signal: stop.signal, aliveMs });
  return {
    next: async (): Promise<WatchTold | undefined> => (await told.next()).value ?? undefined,
    async stop() {
      stop.abort();
      await told.return(undefined);
    },
  };
};

const report = (site: ShadowSite, n: number) => site.shadows.request(update({ reported: { n } }));

t.test('tells changes as they are committed, from now on', async (t) => {
  const site = await openSite(t, await openFolder(t));
  await report(site, 1);
  const watched = watch(site);
  t.match(await watched.next(), { kind: 'watching', position: { version: 1 } });
  const next = watched.next();
  await report(site, 2);
  t.match(await next, {
    kind: 'change',
    change: { version: 2, changes: [{ path: ['reported', 'n'], before: 1, after: 2 }] },
  });
  await site.shadows.request({ ...key, type: 'delete', writer: 'device:pi-1' });
  t.match(await watched.next(), { change: { version: 2, deleted: true } });
  await watched.stop();
});

t.test('a slow reader finds everything, in order, however far behind', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const watched = watch(site);
  await watched.next();
  for (let n = 1; n <= 250; n += 1) await report(site, n);
  for (let n = 1; n <= 250; n += 1) {
    const version = versionOf(await watched.next());
    if (version !== n) throw new Error(`${version} instead of ${n}`);
  }
  await watched.stop();
});

t.test('goes on where a reader stopped, by position or by version', async (t) => {
  const site = await openSite(t, await openFolder(t));
  for (let n = 1; n <= 3; n += 1) await report(site, n);
  const first = watch(site, { version: 1, seq: Number.MAX_SAFE_INTEGER });
  t.match(await first.next(), { kind: 'watching' });
  const second = await first.next();
  t.equal(versionOf(second), 2);
  await first.stop();
  if (second?.kind !== 'change') throw new Error('no change');
  const again = watch(site, second.change);
  await again.next();
  t.equal(versionOf(await again.next()), 3);
  await again.stop();
});

t.test(
  'says what was missed where the history let it go, and goes on with what is left',
  async (t) => {
    const site = await openSite(t, await openFolder(t));
    await site.shadows.request(update({ desired: { a: 1 } }, { writer: 'site:ann' }));
    for (let n = 2; n <= 5; n += 1) await report(site, n);
    const position = await site.shadows.history.end(key);
    const watched = watch(site, { version: 0, seq: 0 });
    await watched.next();
    site.now += 1;
    await report(site, 6);
    await site.shadows.history.pruneOlder(site.now);
    t.match(await watched.next(), { kind: 'missed', afterVersion: 0, toVersion: 5 });
    t.equal(versionOf(await watched.next()), 6);
    await watched.stop();
    t.equal(position.version, 5);
  },
);

t.test('a reader who knows more than there is learns that versions went back', async (t) => {
  const site = await openSite(t, await openFolder(t));
  await report(site, 1);
  const watched = watch(site, { version: 50, seq: 700 });
  t.match(await watched.next(), { kind: 'watching', position: { version: 1 } });
  t.match(await watched.next(), { kind: 'missed', afterVersion: 50, toVersion: 1 });
  const next = watched.next();
  await report(site, 2);
  t.equal(versionOf(await next), 2);
  await watched.stop();
});

t.test('says that it stands when nothing happens, and holds nothing when it ends', async (t) => {
  const site = await openSite(t, await openFolder(t));
  const watched = watch(site, undefined, 1);
  await watched.next();
  t.match(await watched.next(), { kind: 'alive' });
  await watched.stop();
  t.equal(await watched.next(), undefined);
});
