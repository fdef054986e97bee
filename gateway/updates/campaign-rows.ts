/** Campaigns as rows of site.db, and what the journal says of them. */
import type { CampaignBody, FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { Pause, PhaseState, Tally } from '@holdfast/protos/semantics/phase-machine';
import type { Append, Statement } from '@holdfast/provisioning/storage/write';
import { journalEntry } from '../store/journal.js';
import type { Campaign } from './campaign.js';
import { CampaignRun } from './campaign-run.js';
import { shifted, type WriteTime } from './execution-rows.js';

export interface CampaignRow {
  readonly campaign: string;
  readonly body: string;
  readonly executions: number;
  readonly settled_at: number | null;
  readonly phase: number;
  readonly phase_since: number;
  readonly paused: string | null;
  readonly forgiven: string;
  readonly resumes: number;
  readonly targeted_at: number | null;
  readonly waits: string | null;
}

/** Only this file writes these columns, so the JSON in them is ours. */
export const runOf = (row: CampaignRow, ahead: number): CampaignRun => {
  const run = new CampaignRun({
    id: row.campaign,
    ...(JSON.parse(row.body) as { body: CampaignBody; images: FirmwareBody[] }),
  });
  run.phases = {
    phase: row.phase,
    since: shifted(row.phase_since, -ahead),
    paused: row.paused === null ? null : (JSON.parse(row.paused) as Pause),
    forgiven: JSON.parse(row.forgiven) as Tally[],
    resumes: row.resumes,
  };
  run.targetedAt = row.targeted_at;
  run.toldWait = row.waits;
  run.isSettled = row.settled_at !== null;
  return run;
};

const bodyOf = ({ body, images }: Campaign): string => JSON.stringify({ body, images });

export const insertCampaign = (campaign: Campaign): Statement => ({
  sql: 'INSERT INTO campaign_runs (campaign, body, executions, resumes) VALUES (?, ?, 0, ?)',
  params: [campaign.id, bodyOf(campaign), campaign.body.resumes],
});

export const updateCampaign = (campaign: Campaign): Statement => ({
  sql: 'UPDATE campaign_runs SET body = ? WHERE campaign = ?',
  params: [bodyOf(campaign), campaign.id],
});

export const targetedWrite = (campaign: string, at: number): Statement => ({
  sql: 'UPDATE campaign_runs SET targeted_at = ? WHERE campaign = ?',
  params: [at, campaign],
});

/** Where it stands in its phases, and what the journal says of that. */
export const phaseWrite = (
  run: CampaignRun,
  after: PhaseState,
  by: string,
  { at, ahead }: WriteTime,
): (Statement | Append)[] => {
  const { campaign, phases: before } = run;
  const { id } = campaign;
  return [
    {
      sql: `UPDATE campaign_runs SET phase = ?, phase_since = ?, paused = ?, forgiven = ?, resumes = ?
            WHERE campaign = ?`,
      params: [
        after.phase,
        shifted(after.since, ahead),
        after.paused && JSON.stringify(after.paused),
        JSON.stringify(after.forgiven),
        after.resumes,
        id,
      ],
    },
    ...(after.phase > before.phase
      ? [
          journalEntry(
            'state',
            'campaign_phase',
            { campaign: id, phase: after.phase, counts: { ...run.totals() } },
            at,
          ),
        ]
      : []),
    ...(after.paused !== null && after.paused !== before.paused
      ? [journalEntry('state', 'campaign_paused', { campaign: id, ...after.paused }, at)]
      : []),
    ...(after.paused === null && before.paused !== null
      ? [journalEntry('state', 'campaign_resumed', { campaign: id, by }, at)]
      : []),
  ];
};

export const waitWrite = (
  campaign: string,
  wait: { readonly code: string; readonly reason: string } | null,
  at: number,
): (Statement | Append)[] => [
  {
    sql: 'UPDATE campaign_runs SET waits = ? WHERE campaign = ?',
    params: [wait?.code ?? null, campaign],
  },
  journalEntry(
    'state',
    'campaign_waits',
    { campaign, code: wait?.code ?? null, reason: wait?.reason ?? null },
    at,
  ),
];

export const settleWrite = (campaign: string, at: number): (Statement | Append)[] => [
  {
    sql: 'UPDATE campaign_runs SET settled_at = ? WHERE campaign = ? AND settled_at IS NULL',
    params: [at, campaign],
    expectChanges: 1,
  },
  journalEntry('state', 'campaign_settled', { campaign }, at),
];

export const deleteCampaign = (campaign: string): Statement => ({
  sql: 'DELETE FROM campaign_runs WHERE campaign = ? AND settled_at IS NOT NULL',
  params: [campaign],
});
