/** The site's database as its services use it: whoever waits for what a commit holds (lanes, outbox) is told right after it. */
import type { CommitOptions } from '@holdfast/provisioning/storage/commit-queue';
import type { Database } from '@holdfast/provisioning/storage/database';
import type { Store } from '@holdfast/provisioning/storage/store';
import { isAppend, type Write } from '@holdfast/provisioning/storage/write';
import type { SiteLane } from './journal.js';

export interface SiteStore {
  /** Sees what is committed. */
  readonly read: Database;
  /** Resolves after the commit; rejects as the commit queue does. */
  commit(write: Write, options?: CommitOptions): Promise<void>;
}

export interface SiteStoreDeps {
  readonly store: Pick<Store, 'read' | 'commits'>;
  readonly outbox: { kick(): void };
  readonly lanes: Readonly<Record<SiteLane, { appended(count: number): void }>>;
}

export const siteStore = ({ store, outbox, lanes }: SiteStoreDeps): SiteStore => ({
  read: store.read,
  async commit(write, options) {
    await store.commits.commit(write, options);
    const audit = countOf(write, 'journal_audit');
    const state = countOf(write, 'journal_state');
    if (audit > 0) lanes.audit.appended(audit);
    if (state > 0) lanes.state.appended(state);
    if (countOf(write, 'outbox') > 0) outbox.kick();
  },
});

const countOf = (write: Write, table: string): number =>
  write.filter((part) => isAppend(part) && part.into.table === table).length;
