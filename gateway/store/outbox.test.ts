import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { openStore, type Store } from '@holdfast/provisioning/storage/store';
import t, { type Test } from 'tap';
import { journalEntry } from './journal.js';
import { effect, Outbox, type OutboxOptions } from './outbox.js';
import { siteMigrations } from './site-migrations.js';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

async function openSite(t: Test): Promise<Store> {
  const folder = await mkdtemp(join(tmpdir(), 'outbox-'));
  const store = await openStore({
    path: join(folder, 'site.db'),
    migrations: siteMigrations,
    log: silent,
  });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  return store;
}

/** An outbox whose waits end at once, and what they were. */
function makeOutbox(
  t: Test,
  store: Store,
  options?: OutboxOptions,
): { outbox: Outbox; waits: number[] } {
  const waits: number[] = [];
  const wait = async (ms: number): Promise<void> => void waits.push(ms);
  const outbox = new Outbox({ store, log: silent, wait }, options);
  t.teardown(() => outbox.close());
  return { outbox, waits };
}

const left = async (store: Store): Promise<string[]> =>
  (await store.read.all<{ id: string }>('SELECT id FROM outbox ORDER BY seq')).map(({ id }) => id);

t.test('performs what was committed, once, and deletes it', async (t) => {
  const store = await openSite(t);
  const { outbox } = makeOutbox(t, store);
  const performed: unknown[] = [];
  outbox.register('greet', async (body, id) => void performed.push([id, body]));
  outbox.start();
  await store.commits.commit([
    effect('greet', '1', { to: 'x' }),
    effect('greet', '1', { to: 'again' }),
  ]);
  await outbox.idle();
  await outbox.idle();
  t.same(performed, [['1', { to: 'x' }]]);
  t.same(await left(store), []);
});

t.test('performs nothing before it is started, whatever is committed meanwhile', async (t) => {
  const store = await openSite(t);
  const { outbox } = makeOutbox(t, store);
  const performed: string[] = [];
  outbox.register('greet', async (_, id) => void performed.push(id));
  await store.commits.commit([effect('greet', '1', null)]);
  outbox.kick();
  for (let read = 0; read < 5; read += 1) t.same(await left(store), ['1']);
  t.same(performed, []);
  outbox.start();
  await outbox.idle();
  t.same(performed, ['1']);
});

t.test('an effect of a write that fails is not performed', async (t) => {
  const store = await openSite(t);
  const { outbox } = makeOutbox(t, store);
  outbox.register('greet', () => Promise.reject(new Error('must not be')));
  outbox.start();
  await t.rejects(
    store.commits.commit([
      effect('greet', '1', null),
      { sql: 'DELETE FROM fence', expectChanges: 1 },
    ]),
    { code: 'STORE_CONFLICT' },
  );
  await outbox.idle();
  t.same(await left(store), []);
});

t.test('keeps the order of a key through failures, while other keys go on', async (t) => {
  const store = await openSite(t);
  const { outbox, waits } = makeOutbox(t, store);
  const performed: string[] = [];
  let failures = 3;
  outbox.register('set', async (_, id) => {
    if (id === 'a1' && failures-- > 0) throw new Error('not now');
    performed.push(id);
  });
  const ids = ['a1', 'a2', 'b1', 'a3', 'b2'];
  await store.commits.commit(ids.map((id) => effect('set', id, null, id.charAt(0))));
  outbox.start();
  await outbox.idle();
  t.same(
    performed.filter((id) => id.startsWith('a')),
    ['a1', 'a2', 'a3'],
  );
  t.same(performed.slice(0, 2), ['b1', 'b2']);
  t.equal(waits.length, 3);
  t.same(await left(store), []);
});

t.test('an effect that can never be performed stays, and holds up nobody', async (t) => {
  const store = await openSite(t);
  const { outbox } = makeOutbox(t, store);
  const performed: string[] = [];
  outbox.register('set', async (_, id) => {
    if (id === 'bad') throw new HoldfastError('REQUEST_INVALID', 'no');
    performed.push(id);
  });
  await store.commits.commit([
    effect('set', 'bad', null, 'a'),
    effect('unknown', 'strange', null, 'a'),
    effect('set', 'good', null, 'a'),
  ]);
  outbox.start();
  await outbox.idle();
  t.same(performed, ['good']);
  t.same(await left(store), ['bad', 'strange']);
});

t.test('the next start performs what was cut, in order', async (t) => {
  const store = await openSite(t);
  const first = makeOutbox(t, store).outbox;
  let begin = (): void => undefined;
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  first.register('set', (_, __, signal) => {
    begin();
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  });
  await store.commits.commit(['1', '2'].map((id) => effect('set', id, null, 'a')));
  first.start();
  await begun;
  await Promise.all([first.close(), first.close()]);
  t.same(await left(store), ['1', '2']);

  const { outbox } = makeOutbox(t, store);
  const performed: string[] = [];
  outbox.register('set', async (_, id) => void performed.push(id));
  outbox.start();
  await outbox.idle();
  t.same(performed, ['1', '2']);
});

t.test('performs many with few in memory and few at once', async (t) => {
  const store = await openSite(t);
  const { outbox } = makeOutbox(t, store, { maxHeld: 10, maxAtOnce: 3 });
  let active = 0;
  let most = 0;
  let performed = 0;
  outbox.register('set', async () => {
    most = Math.max(most, ++active);
    await new Promise(setImmediate);
    active--;
    performed++;
  });
  const all = Array.from({ length: 250 }, (_, index) => effect('set', `${index}`, null));
  await Promise.all(all.map((one) => store.commits.commit([one])));
  outbox.start();
  await outbox.idle();
  t.equal(performed, 250);
  t.equal(most, 3);
});

t.test('journal entries are numbered without a hole, whatever fails beside them', async (t) => {
  const store = await openSite(t);
  const settled = (campaign: string) => journalEntry('state', 'campaign_settled', { campaign }, 5);
  const outcomes = await Promise.allSettled([
    store.commits.commit([settled('a')]),
    store.commits.commit([settled('b'), { sql: 'DELETE FROM fence', expectChanges: 1 }]),
    store.commits.commit([
      settled('c'),
      journalEntry('audit', 'plan_applied', { revision: 2, generation: 1 }, 6),
    ]),
  ]);
  t.same(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  t.same(await store.read.all('SELECT * FROM journal_state ORDER BY seq'), [
    { seq: 1, at: 5, kind: 'campaign_settled', body: '{"campaign":"a"}' },
    { seq: 2, at: 5, kind: 'campaign_settled', body: '{"campaign":"c"}' },
  ]);
  t.same(await store.read.all('SELECT * FROM journal_audit'), [
    { seq: 1, at: 6, kind: 'plan_applied', body: '{"generation":1,"revision":2}' },
  ]);
});
