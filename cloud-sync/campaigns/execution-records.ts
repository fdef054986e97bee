/** The rows of executions: read and written many at once, counted and their steps noted with them. */
import { executionStatuses, isTerminal } from '@holdfast/protos/link/execution-status';
import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import { CountedChanges } from './campaign-counters.js';
import type { CampaignRecordDependencies, ExecutionRow } from './campaign-records.js';
import { type ExecutionStepRow, stepOf, storeSteps } from './execution-steps.js';

/** Both engines bound the parameters of a statement. */
const rowsAtOnce = 500;

export interface CampaignAtSite {
  readonly campaign: string;
  readonly site: string;
}

/** By device. */
export const readExecutions = async (
  db: Kysely<Schema>,
  { campaign, site }: CampaignAtSite,
  devices: readonly string[],
): Promise<Map<string, ExecutionRow>> => {
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

/** Executions of one campaign at one site as they change, in order; nothing is written before `write`. */
export class ExecutionChanges {
  readonly #key: CampaignAtSite;
  readonly #now: number;
  readonly #before: ReadonlyMap<string, ExecutionRow>;
  readonly #after: Map<string, ExecutionRow>;
  readonly #counts = new CountedChanges();
  readonly #steps: ExecutionStepRow[] = [];

  constructor(key: CampaignAtSite, before: ReadonlyMap<string, ExecutionRow>, now: number) {
    this.#key = key;
    this.#now = now;
    this.#before = before;
    this.#after = new Map(before);
  }

  get(device: string): ExecutionRow | undefined {
    return this.#after.get(device);
  }

  /** `steps` is counted here, whatever the row says. */
  set(row: Omit<ExecutionRow, 'steps'>): void {
    const was = this.#after.get(row.device_id);
    const steps = was?.steps ?? 0;
    const step = stepOf(was, { ...row, steps }, this.#now);
    if (step !== undefined) this.#steps.push(step);
    this.#counts.add(was, row);
    this.#after.set(row.device_id, { ...row, steps: step === undefined ? steps : steps + 1 });
  }

  /** Whether anything had changed. */
  async write(db: Kysely<Schema>): Promise<boolean> {
    const changed = [...this.#after.values()].filter(
      (row) => row !== this.#before.get(row.device_id),
    );
    if (changed.length === 0) return false;
    await storeExecutions(db, changed);
    await storeSteps(db, this.#steps);
    await this.#counts.write(db, this.#key);
    return true;
  }
}

/**
 * Ends what is open of a device that its site has forgotten, or of a whole site that is deleted: nobody will say any more what became
 * of it. To be called in that transaction. The campaigns in which that changed something.
 */
export const closeExecutions = async (
  { signals, now }: Pick<CampaignRecordDependencies, 'signals' | 'now'>,
  tx: WriteTransaction,
  { site, device }: { readonly site: string; readonly device?: string },
  error: string,
): Promise<string[]> => {
  let query = tx.db
    .selectFrom('executions')
    .selectAll()
    .where('site_id', '=', site)
    .where('status', 'not in', executionStatuses.filter(isTerminal));
  if (device !== undefined) query = query.where('device_id', '=', device);
  const byCampaign = new Map<string, ExecutionRow[]>();
  for (const row of await query.execute()) {
    const rows = byCampaign.get(row.campaign_id);
    if (rows === undefined) byCampaign.set(row.campaign_id, [row]);
    else rows.push(row);
  }
  for (const [campaign, rows] of byCampaign) {
    const before = new Map(rows.map((row) => [row.device_id, row]));
    const changes = new ExecutionChanges({ campaign, site }, before, now());
    for (const row of rows) changes.set({ ...row, status: 'cancelled', error, updated_at: now() });
    await changes.write(tx.db);
    tx.afterCommit(() => signals.publish(`campaign:${campaign}`));
  }
  return [...byCampaign.keys()];
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
          phase: eb.ref('excluded.phase'),
          door: eb.ref('excluded.door'),
          number: eb.ref('excluded.number'),
          steps: eb.ref('excluded.steps'),
        })),
      )
      .execute();
  }
};
