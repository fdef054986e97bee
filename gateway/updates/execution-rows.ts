/** Executions as rows of site.db, and what the journal says of them. */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';
import { executionNumber } from '@holdfast/protos/semantics/execution-number';
import { phaseIndexOf } from '@holdfast/protos/semantics/phase-machine';
import type { Append, Statement } from '@holdfast/provisioning/storage/write';
import type { Door } from '../devices/device-events.js';
import { journalEntry } from '../store/journal.js';
import { effect } from '../store/outbox.js';
import type { Campaign } from './campaign.js';
import type { Decision, Execution } from './execution-state.js';
import { rank } from './execution-steps.js';

export interface ExecutionRow {
  readonly campaign: string;
  readonly device: string;
  readonly status: string;
  readonly door: string | null;
  readonly attempt: number;
  readonly offers: number;
  readonly site_failures: number;
  readonly from_version: string | null;
  readonly to_version: string;
  readonly boot_before: string | null;
  readonly seen_boot: string | null;
  readonly seen_version: string | null;
  readonly claimed: number;
  readonly held: number;
  readonly furthest: string;
  readonly progress: number | null;
  readonly error: string | null;
  readonly not_before: number;
  readonly deadline: number | null;
  readonly version: number;
  readonly updated_at: number;
  readonly firmware: string | null;
  readonly details: string | null;
  readonly queued_at: number;
  readonly started_at: number | null;
}

/**
 * Deadlines are compared by a time that the wall clock does not move, and kept by the wall clock, so that the next start can read them:
 * `ahead` is by how much that is ahead of the time of this run.
 */
export const shifted = <T extends number | null>(at: T, ahead: number): T =>
  // 0 is no time, and null none.
  (at === null || at === 0 ? at : at + ahead) as T;

/** Only this file writes these columns, so the words in them are ours. */
export const executionOf = (row: ExecutionRow, ahead = 0): Execution => ({
  status: row.status as ExecutionStatus,
  door: row.door as Door | null,
  attempt: row.attempt,
  offers: row.offers,
  siteFailures: row.site_failures,
  fromVersion: row.from_version,
  toVersion: row.to_version,
  firmware: row.firmware,
  bootBefore: row.boot_before,
  seen: row.seen_boot === null ? null : { boot: row.seen_boot, version: row.seen_version },
  claimed: row.claimed === 1,
  held: row.held === 1,
  furthest: row.furthest as ExecutionStatus,
  progress: row.progress,
  error: row.error,
  details: row.details === null ? null : (JSON.parse(row.details) as Record<string, string>),
  queuedAt: row.queued_at,
  startedAt: row.started_at,
  updatedAt: row.updated_at,
  notBefore: shifted(row.not_before, -ahead),
  deadline: shifted(row.deadline, -ahead),
  version: row.version,
});

/** New executions of a campaign; `total` is how many it then has. It is not settled any more. */
export const targetWrite = (
  campaign: Campaign,
  added: readonly (readonly [device: string, execution: Execution])[],
  total: number,
  at: number,
): (Statement | Append)[] => [
  {
    sql: 'UPDATE campaign_runs SET executions = ?, settled_at = NULL WHERE campaign = ?',
    params: [total, campaign.id],
  },
  ...added.flatMap(([device, execution]) => [
    {
      sql: `INSERT INTO executions (campaign, device, status, attempt, site_failures, to_version,
              claimed, furthest, not_before, version, updated_at, firmware, queued_at)
            VALUES (?, ?, ?, 0, 0, ?, 0, ?, 0, ?, ?, ?, ?)`,
      params: [
        campaign.id,
        device,
        execution.status,
        execution.toVersion,
        execution.furthest,
        execution.version,
        at,
        execution.firmware,
        execution.queuedAt,
      ],
    },
    entryOf(campaign, device, execution, at),
  ]),
  journalEntry('state', 'campaign_targeted', { campaign: campaign.id, executions: total }, at),
];

export const notifyKind = 'update.notify';

/** When something is written: by the wall clock, and by how much that is ahead of the time that deadlines are compared by. */
export interface WriteTime {
  readonly at: number;
  readonly ahead: number;
}

/** A decision, what the journal says of it and what is to be done: one write, refused when the row is not what was decided on. */
export const decisionWrite = (
  campaign: Campaign,
  device: string,
  before: Execution,
  { state, effects }: Decision,
  { at, ahead }: WriteTime,
): (Statement | Append)[] => [
  {
    sql: `UPDATE executions SET status = ?, door = ?, attempt = ?, offers = ?, site_failures = ?, from_version = ?,
            boot_before = ?, seen_boot = ?, seen_version = ?, claimed = ?, held = ?, furthest = ?, progress = ?,
            error = ?, details = ?, started_at = ?, not_before = ?, deadline = ?, version = ?, updated_at = ?
          WHERE campaign = ? AND device = ? AND version = ?`,
    params: [
      state.status,
      state.door,
      state.attempt,
      state.offers,
      state.siteFailures,
      state.fromVersion,
      state.bootBefore,
      state.seen?.boot ?? null,
      state.seen?.version ?? null,
      state.claimed ? 1 : 0,
      state.held ? 1 : 0,
      state.furthest,
      state.progress,
      state.error,
      state.details && JSON.stringify(state.details),
      state.startedAt,
      shifted(state.notBefore, ahead),
      shifted(state.deadline, ahead),
      state.version,
      at,
      campaign.id,
      device,
      before.version,
    ],
    expectChanges: 1,
  },
  ...(isNews(before, state) ? [entryOf(campaign, device, state, at)] : []),
  ...effects.map(() =>
    effect(
      notifyKind,
      `${notifyKind}:${campaign.id}:${device}:${state.version}`,
      { campaign: campaign.id, device },
      `device:${device}`,
    ),
  ),
];

export const deleteExecution = (campaign: string, device: string): Statement => ({
  sql: 'DELETE FROM executions WHERE campaign = ? AND device = ?',
  params: [campaign, device],
});

/** The wall clock turned out to be off by `stepMs`: what is not over was kept by it. */
export const correctWrite = (stepMs: number): Statement[] => [
  {
    sql: `UPDATE executions SET deadline = deadline + ?1, not_before = iif(not_before = 0, 0, not_before + ?1)
          WHERE deadline IS NOT NULL OR not_before > 0`,
    params: [stepMs],
  },
  {
    sql: 'UPDATE campaign_runs SET phase_since = phase_since + ?1 WHERE phase_since > 0',
    params: [stepMs],
  },
];

/** Changes of one execution that are all told; no device that means well comes near it. */
const mostTold = 1_000;

/**
 * Deadlines and evidence are the site's own. What is told is kept until the control plane has it: a device that goes back and forth
 * for ever is told of only where it gets further or ends, so that it cannot fill that lane.
 */
const isNews = (before: Execution, after: Execution): boolean => {
  const isStep = before.attempt !== after.attempt || before.furthest !== after.furthest;
  const isOther = before.status !== after.status;
  if (isStep || (isOther && rank(after.status) === 0)) return true;
  const hasSaid = before.progress !== after.progress || before.error !== after.error;
  return (isOther || hasSaid) && after.version <= mostTold;
};

const entryOf = (campaign: Campaign, device: string, state: Execution, at: number): Append =>
  journalEntry(
    'state',
    'execution',
    {
      campaign: campaign.id,
      device,
      status: state.status,
      attempt: state.attempt,
      progress: state.progress,
      from_version: state.fromVersion,
      to_version: state.toVersion,
      error: state.error,
      phase: phaseIndexOf(campaign.body.phases, campaign.id, device),
      door: state.door,
      number: state.offers === 0 ? null : executionNumber(campaign.id, device, state.offers),
    },
    at,
  );
