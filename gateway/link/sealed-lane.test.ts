import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chainStart } from '@holdfast/protos/semantics/journal-chain';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t, { type Test } from 'tap';
import { journalEntry } from '../store/journal.js';
import { siteMigrations } from '../store/site-migrations.js';
import { openSealedLane } from './sealed-lane.js';

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
