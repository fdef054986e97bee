/** A site's shadows on a real store, with a clock that a test sets and commits that fail when it says so. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { ConflictRule } from '@holdfast/protos/semantics/conflict-policy';
import { zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import {
  mintOperations,
  type ShadowEdit,
  type ShadowState,
} from '@holdfast/protos/semantics/shadow-merge';
import { openStore, type Store } from '@holdfast/provisioning/storage/store';
import type { Write } from '@holdfast/provisioning/storage/write';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Test } from 'tap';
import { siteMigrations } from '../store/site-migrations.js';
import type { SiteStore } from '../store/site-store.js';
import type { ShadowChange } from './shadow-change.js';
import { openShadows, type ShadowRequest, type Shadows, type ShadowsOptions } from './shadows.js';

export const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
export const key = { device: 'pi-1', name: classicShadow };
export const device = 'device:pi-1' as const;

export interface ShadowSite {
  readonly store: Store;
  readonly shadows: Shadows;
  now: number;
  trusted: boolean;
  /** What the next commits end with, once each. */
  readonly failures: Error[];
  /** As the plan has them. */
  rules: readonly ConflictRule[];
  /** For what is built on the shadows. */
  readonly site: SiteStore;
  readonly clock: Clock;
  reopen(options?: ShadowsOptions): Promise<ShadowSite>;
  /** Merges what the cloud wrote. */
  order(operations: ReturnType<typeof cloudWrites>, more?: object): Promise<void>;
}

export const openFolder = async (t: Test): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'shadows-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
};

export const openSite = async (
  t: Test,
  folder: string,
  options?: ShadowsOptions,
): Promise<ShadowSite> => {
  const store = await openStore({
    path: join(folder, 'site.db'),
    migrations: siteMigrations,
    log: silent,
  });
  t.teardown(() => store.close());
  const failures: Error[] = [];
  const time = { now: 5_000, trusted: true, rules: [] as readonly ConflictRule[] };
  const commit = async (write: Write): Promise<void> => {
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    await store.commits.commit(write);
  };
  const clock = {
    now: () => time.now,
    get trusted() {
      return time.trusted;
    },
    monotonic: () => 0,
  };
  const site = { read: store.read, commit };
  const shadows = await openShadows(
    { site, clock, log: store.log, rules: () => time.rules },
    options,
  );
  return Object.assign(time, {
    store,
    shadows,
    failures,
    site,
    clock,
    async order(operations: ReturnType<typeof cloudWrites>, more = {}) {
      const order = { device: key.device, shadow: key.name, operations, ...more };
      await shadows.applyRemote(order, commit);
    },
    async reopen(again?: ShadowsOptions) {
      await store.close();
      return openSite(t, folder, again);
    },
  });
};

export const update = (patch: JsonObject, more: Partial<ShadowRequest> = {}): ShadowRequest =>
  ({ ...key, type: 'update', writer: device, patch, ...more }) as ShadowRequest;

export const journalOf = async ({ store }: ShadowSite) =>
  (
    await store.read.all<{ body: string }>(
      "SELECT body FROM journal_state WHERE kind = 'shadow' ORDER BY seq",
    )
  ).map(
    ({ body }) =>
      JSON.parse(body) as { operations: unknown[]; dead?: unknown[]; deleted?: boolean },
  );

export const effectsOf = async ({ store }: ShadowSite) =>
  (
    await store.read.all<{ id: string; body: string }>('SELECT id, body FROM outbox ORDER BY seq')
  ).map(({ id, body }) => ({ id, change: JSON.parse(body) as ShadowChange }));

export const cloudWrites = (state: ShadowState, now: number, ...edits: readonly ShadowEdit[]) =>
  mintOperations(state, edits, {
    replica: 'cloud',
    writer: 'cloud',
    seen: zeroTime,
    clock: { now, trusted: true },
  });

export const desired = (value: number): ShadowEdit => ({ path: ['desired', 'level'], value });
