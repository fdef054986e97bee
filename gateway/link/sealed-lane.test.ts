import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isWithoutHole } from '@holdfast/protos/link/journal-batch';
import { chainStart } from '@holdfast/protos/semantics/journal-chain';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { journalEntry } from '../store/journal.js';
import { siteMigrations } from '../store/site-migrations.js';
import type { Position, SealedBatch } from './lane.js';
import { openSealedLane, type SealedLane } from './sealed-lane.js';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const start = { seq: 0, chain: chainStart };
const ample = 1 << 20;

const fixture = async (t: Test, entries: number) => {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-lane-'));
  const clock = new ManualClock();
  const store = await openStore({
    path: join(dir, 'site.db'),
    migrations: siteMigrations,
    log: quiet,
  });
  t.teardown(async () => {
    await store.close();
    await rm(dir, { recursive: true });
  });
  const one = journalEntry('state', 'campaign_settled', { campaign: 'c' }, clock.now());
  await store.commits.commit(Array.from({ length: entries }, () => one));
  return { store, open: () => openSealedLane({ store, clock }, 'state') };
};

t.test('knows its chain wherever a batch ended, also one that was sent again', async (t) => {
  const { open } = await fixture(t, 10);
  const lane = await open();
  t.equal((await lane.read(start, ample))?.lastSeq, 10);
  // The window is narrower on the next connection, so the same entries leave in smaller batches.
  const again = await lane.read(start, 300);
  const end = again?.lastSeq ?? 0;
  t.ok(end > 0 && end < 10);
  t.same(await lane.chainAt(end), again?.chain, 'a control plane that stands there is met');
  t.same(await (await open()).chainAt(end), again?.chain, 'after a restart too');
  t.equal(lane.sealed.seq, 10);
  const rest = await lane.read({ seq: end, chain: again?.chain ?? chainStart }, ample);
  t.same(rest?.chain, lane.sealed.chain, 'it is the same chain');
});

t.test(
  'what was read of a log that is given up meanwhile leaves no seal in the new one',
  async (t) => {
    const { store, open } = await fixture(t, 10);
    const lane = await open();
    await lane.read(start, ample);
    await Promise.all([lane.read(start, 300), lane.startNewLog('a test')]);
    t.same(await store.read.all('SELECT * FROM lane_seals'), []);
    t.same(lane.sealed, start);
  },
);

/** As the link does: from where it stands, and after an error from the beginning of what the log has. */
const readAll = async (lane: SealedLane): Promise<SealedBatch[]> => {
  let batches: SealedBatch[] = [];
  let after: Position = start;
  for (let errors = 0; errors < 5; ) {
    try {
      const batch = await lane.read(after, ample);
      if (!batch) return batches;
      batches.push(batch);
      after = { seq: batch.lastSeq, chain: batch.chain };
    } catch {
      errors += 1;
      batches = [];
      after = start;
    }
  }
  throw new Error('it never gets through');
};

const numbersOf = (batches: readonly SealedBatch[]): boolean[] =>
  batches.map(({ firstSeq, entries }) => isWithoutHole(firstSeq, JSON.parse(entries)));

t.test('entries that are gone are accounted for, and hold up none after them', async (t) => {
  const { store, open } = await fixture(t, 10);
  const lane = await open();
  await store.commits.commit([{ sql: 'DELETE FROM journal_state WHERE seq IN (4, 5, 9)' }]);
  const batches = await readAll(lane);
  t.ok(numbersOf(batches).every(Boolean), 'no batch has a hole, which the other end would refuse');
  t.equal(batches.at(-1)?.lastSeq, 10);
  const rows = await store.read.all("SELECT seq, body FROM journal_state WHERE kind = 'compacted'");
  t.same(rows, [
    { seq: 5, body: '{"from":4,"to":5}' },
    { seq: 9, body: '{"from":9,"to":9}' },
  ]);
});

t.test('entries that are gone of what was sealed begin a new log', async (t) => {
  const { store, open } = await fixture(t, 10);
  const lane = await open();
  const first = await lane.read(start, 300);
  await lane.read({ seq: first?.lastSeq ?? 0, chain: first?.chain ?? chainStart }, ample);
  const { log } = lane;
  const gone = (first?.lastSeq ?? 0) + 1;
  await store.commits.commit([{ sql: 'DELETE FROM journal_state WHERE seq = ?', params: [gone] }]);
  const batches = await readAll(await open());
  t.ok(numbersOf(batches).every(Boolean));
  t.equal(batches.at(-1)?.lastSeq, 10);
  t.not(batches.at(-1)?.log, log);
});

t.test('a look at the table that began before a commit does not forget it', async (t) => {
  const { store } = await fixture(t, 10);
  let beforeAnswer: () => Promise<void> = async () => undefined;
  const read: Pick<typeof store.read, 'all' | 'get'> = {
    all: (sql, params) => store.read.all(sql, params),
    get: async (sql, params) => {
      const row = await store.read.get(sql, params);
      await beforeAnswer();
      return row as never;
    },
  };
  const deps = { store: { read, commits: store.commits }, clock: new ManualClock() };
  const lane = await openSealedLane(deps, 'state');
  beforeAnswer = async () => {
    await store.commits.commit([journalEntry('state', 'campaign_settled', { campaign: 'd' }, 0)]);
    lane.appended(1);
  };
  await lane.refresh();
  t.equal(lane.last, 11);
});
