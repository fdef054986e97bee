/** What the sites report of campaigns: executions, counted with their campaign as they come, and that a site is through. */
import { isTerminal } from '@holdfast/protos/link/execution-status';
import type { EntryBody } from '@holdfast/protos/link/journal-entries';
import type { Kysely } from 'kysely';
import type {
  EffectContext,
  EffectEntry,
  EffectRegistry,
  EntryProblem,
} from '../effects/effect-registry.js';
import type { Schema } from '../store/schema.js';
import {
  type CampaignRecordDependencies,
  type ExecutionRow,
  endIfSettled,
} from './campaign-records.js';
import { type CounterChanges, changesOf } from './progress.js';

export interface CampaignEffectsDependencies extends CampaignRecordDependencies {
  readonly effects: EffectRegistry;
}

type ExecutionEntry = EffectEntry<EntryBody<'state', 'execution'>>;

export const registerCampaignEffects = (deps: CampaignEffectsDependencies): void => {
  const { effects } = deps;
  effects.register('state', 'execution', (context, entries) =>
    takeExecutions(deps, context, entries),
  );
  effects.register('state', 'campaign_targeted', async ({ tx, site, isFenced }, entries) => {
    // Devices may come to be targeted after the site was through.
    for (const { body } of isFenced ? [] : entries) {
      await markSettled(tx.db, site, body.campaign, 0);
    }
    return undefined;
  });
  effects.register('state', 'campaign_settled', async ({ tx, site, isFenced }, entries) => {
    // A gateway that owns the site no more cannot say that there is nothing left to do.
    const problems: EntryProblem[] = [];
    for (const { seq, body } of isFenced ? [] : entries) {
      if (await markSettled(tx.db, site, body.campaign, 1)) {
        await endIfSettled(deps, tx, body.campaign);
      } else {
        problems.push({ seq, problem: 'the site does not carry this campaign out' });
      }
    }
    return problems;
  });
};

/** Whether the site carries the campaign out at all. */
const markSettled = async (
  db: Kysely<Schema>,
  site: string,
  campaign: string,
  settled: 0 | 1,
): Promise<boolean> => {
  const { numUpdatedRows } = await db
    .updateTable('campaign_sites')
    .set({ settled })
    .where('campaign_id', '=', campaign)
    .where('site_id', '=', site)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
};

const takeExecutions = async (
  { signals }: CampaignEffectsDependencies,
  context: EffectContext,
  entries: readonly ExecutionEntry[],
): Promise<EntryProblem[]> => {
  const { tx, site } = context;
  const problems: EntryProblem[] = [];
  for (const [campaign, its] of groupByCampaign(entries)) {
    if (!(await isKnown(tx.db, campaign))) {
      problems.push(...its.map(({ seq }) => ({ seq, problem: 'there is no such campaign' })));
      continue;
    }
    const before = await readExecutions(tx.db, { campaign, site }, its);
    const after = new Map(before);
    const changes: Record<string, number> = {};
    for (const entry of its) {
      const was = after.get(entry.body.device);
      const row = executionAfter(context, was, entry);
      if (row === undefined) continue;
      after.set(row.device_id, row);
      add(changes, changesOf(was?.status, row.status));
    }
    const changed = [...after.values()].filter((row) => row !== before.get(row.device_id));
    if (changed.length === 0) continue;
    await storeExecutions(tx.db, changed);
    await count(tx.db, campaign, changes);
    tx.afterCommit(() => signals.publish(`campaign:${campaign}`));
  }
  return problems;
};

/**
 * What an entry makes of an execution; undefined when it says nothing new. Within a log entries come once and in order. Another log is
 * one of a gateway that was replaced or whose database was made anew, or an older one that is sent again: it takes no result back,
 * unless by a result. Where the site's owner has spoken, one that is fenced has nothing to add.
 */
const executionAfter = (
  { site, log, isFenced }: EffectContext,
  was: ExecutionRow | undefined,
  { at, body }: ExecutionEntry,
): ExecutionRow | undefined => {
  if (was !== undefined) {
    if (isTerminal(was.status) && !isTerminal(body.status)) return undefined;
    if (isFenced && was.log !== log) return undefined;
  }
  return {
    campaign_id: body.campaign,
    site_id: site,
    device_id: body.device,
    log,
    status: body.status,
    attempt: body.attempt,
    progress: body.progress,
    from_version: body.from_version,
    to_version: body.to_version,
    error: body.error,
    updated_at: at,
  };
};

const groupByCampaign = (entries: readonly ExecutionEntry[]): Map<string, ExecutionEntry[]> => {
  const groups = new Map<string, ExecutionEntry[]>();
  for (const entry of entries) {
    const group = groups.get(entry.body.campaign);
    if (group === undefined) groups.set(entry.body.campaign, [entry]);
    else group.push(entry);
  }
  return groups;
};

const isKnown = async (db: Kysely<Schema>, campaign: string): Promise<boolean> => {
  const row = await db
    .selectFrom('campaigns')
    .select('campaign_id')
    .where('campaign_id', '=', campaign)
    .executeTakeFirst();
  return row !== undefined;
};

/** Both engines bound the parameters of a statement. */
const rowsAtOnce = 500;

const readExecutions = async (
  db: Kysely<Schema>,
  { campaign, site }: { readonly campaign: string; readonly site: string },
  entries: readonly ExecutionEntry[],
): Promise<Map<string, ExecutionRow>> => {
  const devices = [...new Set(entries.map(({ body }) => body.device))];
  const found = new Map<string, ExecutionRow>();
  for (let at = 0; at < devices.length; at += rowsAtOnce) {
    const rows = await db
      .selectFrom('executions')
      .selectAll()
      .where('campaign_id', '=', campaign)
      .where('site_id', '=', site)
      .where('device_id', 'in', devices.slice(at, at + rowsAtOnce))
      .execute();
    for (const row of rows) found.set(row.device_id, row);
  }
  return found;
};

const storeExecutions = async (
  db: Kysely<Schema>,
  rows: readonly ExecutionRow[],
): Promise<void> => {
  for (let at = 0; at < rows.length; at += rowsAtOnce) {
    await db
      .insertInto('executions')
      .values(rows.slice(at, at + rowsAtOnce))
      .onConflict((c) =>
        c.columns(['campaign_id', 'site_id', 'device_id']).doUpdateSet((eb) => ({
          log: eb.ref('excluded.log'),
          status: eb.ref('excluded.status'),
          attempt: eb.ref('excluded.attempt'),
          progress: eb.ref('excluded.progress'),
          from_version: eb.ref('excluded.from_version'),
          to_version: eb.ref('excluded.to_version'),
          error: eb.ref('excluded.error'),
          updated_at: eb.ref('excluded.updated_at'),
        })),
      )
      .execute();
  }
};

const add = (sum: Record<string, number>, changes: CounterChanges): void => {
  for (const [counter, change] of Object.entries(changes)) {
    sum[counter] = (sum[counter] ?? 0) + change;
  }
};

const count = async (
  db: Kysely<Schema>,
  campaign: string,
  changes: Readonly<Record<string, number>>,
): Promise<void> => {
  const moved = Object.entries(changes).filter(([, change]) => change !== 0);
  if (moved.length === 0) return;
  await db
    .updateTable('campaigns')
    .set((eb) =>
      Object.fromEntries(
        // Only `changesOf` makes these names; every one is a column of the counters.
        moved.map(([counter, change]) => [counter, eb(eb.ref(counter as 'total'), '+', change)]),
      ),
    )
    .where('campaign_id', '=', campaign)
    .execute();
};
