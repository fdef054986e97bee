import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chainStart } from '@holdfast/protos/semantics/journal-chain';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import { cronSchedule } from '@holdfast/provisioning/time/schedule';
import t, { type Test } from 'tap';
import { journalEntry } from '../store/journal.js';
import { siteMigrations } from '../store/site-migrations.js';
import type { Position } from './lane.js';
import { Pruning, type PruningOptions } from './pruning.js';
import { openSealedLane } from './sealed-lane.js';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const dayMs = 86_400_000;

const fixture = async (t: Test, options: PruningOptions = {}) => {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-pruning-'));
  const clock = new ManualClock();
  const store = await openStore({
    path: join(dir, 'site.db'),
    migrations: siteMigrations,
    log: quiet,
  });
  const lane = await openSealedLane({ store, clock }, 'state');
  const pruning = new Pruning(
    { lanes: [lane], clock, schedule: cronSchedule, log: quiet },
    options,
  );
  t.teardown(async () => {
    await pruning.close();
    await store.close();
    await rm(dir, { recursive: true });
  });
  let sent: Position = { seq: 0, chain: chainStart };
  return {
    clock,
    lane,
    pruning,
    write: async (entries: number) => {
      const one = journalEntry('state', 'campaign_settled', { campaign: 'c' }, clock.now());
      await store.commits.commit(Array.from({ length: entries }, () => one));
      await lane.refresh();
    },
    /** Seals what there is as one batch. */
    send: async () => {
      const batch = await lane.read(sent, 1 << 20);
      if (batch) sent = { seq: batch.lastSeq, chain: batch.chain };
    },
    kept: async () =>
      (await store.read.all<{ seq: number }>('SELECT seq FROM journal_state ORDER BY seq')).map(
        ({ seq }) => seq,
      ),
  };
};

t.test('keeps acknowledged entries for a week, and those that are not for ever', async (t) => {
  const { clock, lane, pruning, write, send, kept } = await fixture(t);
  await write(2);
  await send();
  clock.advance(3 * dayMs);
  await write(2);
  await send();
  await write(1);
  await lane.acknowledge(4);
  await pruning.run();
  t.equal((await kept()).length, 5);
  clock.advance(5 * dayMs);
  await pruning.run();
  t.same(await kept(), [3, 4, 5]);
  t.ok(await lane.chainAt(2), 'a control plane that stands right before them can still be met');
  clock.advance(365 * dayMs);
  await pruning.run();
  t.same(await kept(), [5]);
  t.equal(
    (await lane.read({ seq: 4, chain: (await lane.chainAt(4)) ?? chainStart }, 1000))?.firstSeq,
    5,
  );
});

t.test('keeps no more than its quota of them', async (t) => {
  const { lane, pruning, write, send, kept } = await fixture(t, { keepEntries: 3 });
  await write(6);
  await send();
  await lane.acknowledge(5);
  await pruning.run();
  t.same(await kept(), [3, 4, 5, 6]);
});

t.test('nothing grows old by a clock that is not trusted', async (t) => {
  const { clock, lane, pruning, write, send, kept } = await fixture(t);
  await write(1);
  await send();
  await lane.acknowledge(1);
  clock.advance(365 * dayMs);
  clock.trusted = false;
  await pruning.run();
  t.same(await kept(), [1]);
});

t.test('prunes by itself, as its schedule says, and stops', async (t) => {
  const { clock, lane, pruning, write, send, kept } = await fixture(t, { cron: '* * * * * *' });
  await write(1);
  await send();
  await lane.acknowledge(1);
  clock.advance(8 * dayMs);
  pruning.open();
  while ((await kept()).length > 0) await new Promise((done) => setTimeout(done, 20));
  await pruning.close();
});
