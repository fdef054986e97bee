import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openStore } from '@holdfast/provisioning/storage/store';
import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import { ManualSchedule } from '@holdfast/provisioning/time/manual-schedule';
import t from 'tap';
import { openSealedLane } from '../link/sealed-lane.js';
import { journalEntry } from './journal.js';
import { Retention } from './retention.js';
import { siteMigrations } from './site-migrations.js';

const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const dayMs = 86_400_000;

t.test('forgets by a trusted clock alone, and what the control plane has heard of', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-retention-'));
  const store = await openStore({ path: join(folder, 'site.db'), migrations: siteMigrations, log });
  const clock = new ManualClock();
  const lane = await openSealedLane({ store, clock }, 'state');
  const forgotten: string[] = [];
  const forgetting = (what: string) => ({
    forget: async (before: number) => {
      forgotten.push(`${what} ${(clock.now() - before) / dayMs}`);
    },
  });
  const schedule = new ManualSchedule();
  const retention = new Retention(
    {
      site: { read: store.read },
      commands: forgetting('commands'),
      updates: forgetting('campaigns'),
      ...{ clock, schedule: schedule.schedule, log },
    },
    { commandDays: 10, campaignDays: 20 },
  );
  retention.open();
  t.teardown(async () => {
    await retention.close();
    await store.close();
    await rm(folder, { recursive: true });
  });
  await store.commits.commit([
    journalEntry('state', 'campaign_settled', { campaign: 'c' }, clock.now()),
  ]);
  await lane.refresh();
  clock.advance(15 * dayMs);
  clock.trusted = false;
  await schedule.run();
  t.same(forgotten, []);
  clock.trusted = true;
  await schedule.run();
  t.same(forgotten, ['campaigns 20'], 'an entry from 15 days ago is still here alone');
  await lane.acknowledge(1);
  await schedule.run();
  t.same(forgotten, ['campaigns 20', 'commands 10', 'campaigns 20']);
});
