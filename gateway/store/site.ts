/** Opens what the site keeps: both databases, the lanes of the journal, the outbox; and tells the journal when a file was made anew. */
import { join } from 'node:path';
import type { Rebuilt } from '@holdfast/provisioning/storage/damage';
import { DiskReserve } from '@holdfast/provisioning/storage/disk-reserve';
import {
  openStore,
  rebuiltReported,
  type Store,
  type StoreLog,
} from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import { openSealedLane, type SealedLane } from '../link/sealed-lane.js';
import { openTelemetry, type Telemetry } from '../telemetry/telemetry.js';
import { journalEntry, type SiteLane } from './journal.js';
import { Outbox } from './outbox.js';
import { siteMigrations } from './site-migrations.js';
import { type SiteStore, siteStore } from './site-store.js';

export interface SiteDependencies {
  readonly log: StoreLog;
  readonly clock: Clock;
  readonly onClose: (name: string, close: () => Promise<void>) => void;
  /** The site's database is damaged: the next start puts it aside and makes it anew. */
  readonly fail: (error: unknown) => void;
}

export interface SiteOptions {
  readonly dataDir: string;
  readonly telemetryBudgetBytes: number;
}

export interface Site {
  readonly store: Store;
  readonly site: SiteStore;
  readonly outbox: Outbox;
  readonly lanes: Readonly<Record<SiteLane, SealedLane>>;
  readonly telemetry: Telemetry;
}

export const openSite = async (
  { log, clock, onClose, fail }: SiteDependencies,
  { dataDir, telemetryBudgetBytes }: SiteOptions,
): Promise<Site> => {
  const path = join(dataDir, 'site.db');
  const reserve = await DiskReserve.open(
    { log, monotonic: () => clock.monotonic() },
    { path: join(dataDir, 'reserve') },
  );
  const commits = { reserve };
  const store = await openStore({ path, migrations: siteMigrations, log, onDamage: fail, commits });
  onClose('site store', () => store.close());
  const lanes = {
    audit: await openSealedLane({ store, clock }, 'audit'),
    state: await openSealedLane({ store, clock }, 'state'),
  };
  const outbox = new Outbox({ store, log });
  const site = siteStore({ store, outbox, lanes });
  const telemetry = await openTelemetry(
    { clock, log, commits },
    { path: join(dataDir, 'telemetry.db'), budgetBytes: telemetryBudgetBytes },
  );
  onClose('telemetry', () => telemetry.close());
  const entryOf = (database: string, { reason, movedTo }: Rebuilt) =>
    journalEntry('audit', 'store_rebuilt', { database, reason, moved_to: movedTo }, clock.now());
  if (store.rebuilt) await site.commit([entryOf('site.db', store.rebuilt), rebuiltReported]);
  if (telemetry.rebuilt) {
    await site.commit([entryOf('telemetry.db', telemetry.rebuilt)]);
    // Another file, another commit: told twice is better than never.
    await telemetry.rebuiltReported();
  }
  return { store, site, outbox, lanes, telemetry };
};
