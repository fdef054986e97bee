/** The steps of executions with their times: what became of each device is kept, and can be told to others. */
import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../store/schema.js';
import type { ExecutionRow } from './campaign-records.js';

export type ExecutionStepRow = Selectable<Schema['execution_steps']>;

/** Far more than retries make; what a broken gateway says beyond it is not kept. */
const mostSteps = 1_000;

/** The execution with the step that it took; undefined for the step where only its progress changed. */
export const stepOf = (
  was: ExecutionRow | undefined,
  row: ExecutionRow,
  receivedAt: number,
): ExecutionStepRow | undefined => {
  const isSame = was?.status === row.status && was.attempt === row.attempt;
  if (isSame || row.steps > mostSteps) return undefined;
  return {
    campaign_id: row.campaign_id,
    site_id: row.site_id,
    device_id: row.device_id,
    step: row.steps,
    status: row.status,
    attempt: row.attempt,
    to_version: row.to_version,
    error: row.error,
    door: row.door,
    at: row.updated_at,
    received_at: receivedAt,
  };
};

const rowsAtOnce = 500;

export const storeSteps = async (
  db: Kysely<Schema>,
  steps: readonly ExecutionStepRow[],
): Promise<void> => {
  for (let at = 0; at < steps.length; at += rowsAtOnce) {
    await db
      .insertInto('execution_steps')
      .values(steps.slice(at, at + rowsAtOnce))
      .onConflict((c) => c.columns(['campaign_id', 'site_id', 'device_id', 'step']).doNothing())
      .execute();
  }
};
