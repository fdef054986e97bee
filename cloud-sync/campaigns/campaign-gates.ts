/**
 * The gates of a campaign that people and the fleet's numbers open. A site sees only whether a phase is released; what it can judge by
 * itself (time, its own success and errors) it judges there, by the same functions (protos/semantics/phase-machine).
 */
import type { CampaignPhase } from '@holdfast/protos/link/campaign-document';
import { isReached, tallyOf } from '@holdfast/protos/semantics/phase-machine';
import type { Kysely, Selectable } from 'kysely';
import { recordAudit } from '../audit/audit-log.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import {
  type CampaignRecordDependencies,
  type CampaignRow,
  campaignName,
  changeCampaign,
} from './campaign-records.js';
import { type PhaseDefinition, phasesOfRow, policyOfRow } from './campaign-row.js';
import { sitesOf } from './campaign-sites.js';
import { noCounts } from './progress.js';

export type PhaseRow = Selectable<Schema['campaign_phases']>;

/** A phase with what became of it. */
export interface Gate {
  /** From 0. */
  readonly index: number;
  readonly phase: PhaseDefinition;
  readonly row: PhaseRow;
  /** Somebody has to approve it, and nobody has. */
  readonly needsApproval: boolean;
  /** The phase before it is judged by the fleet, and was not passed. */
  readonly needsFleet: boolean;
  /** As the plan says it. */
  readonly released: boolean;
}

/** What the counters of a phase are before a campaign is stored. */
export const newPhaseRow = (campaign: string, phase: number): PhaseRow => ({
  ...noCounts,
  campaign_id: campaign,
  phase,
  approved_by: '',
  approved_at: null,
  released_by: '',
  released_at: null,
  passed_at: null,
  entered_count: 0,
  forgiven_over: 0,
  forgiven_failed: 0,
});

export const gatesOf = (
  campaign: Pick<CampaignRow, 'campaign_id' | 'phases'>,
  rows: readonly PhaseRow[],
): readonly Gate[] => {
  const phases = phasesOfRow(campaign);
  const rowOf = (index: number): PhaseRow =>
    rows.find(({ phase }) => phase === index) ?? newPhaseRow(campaign.campaign_id, index);
  return phases.map((phase, index) => {
    const row = rowOf(index);
    const before = phases[index - 1];
    const isReleased = row.released_at !== null;
    const needsApproval = phase.approval && row.approved_at === null && !isReleased;
    const needsFleet =
      before?.judged_by === 'fleet' && rowOf(index - 1).passed_at === null && !isReleased;
    return {
      index,
      phase,
      row,
      needsApproval,
      needsFleet,
      released: !needsApproval && !needsFleet,
    };
  });
};

export const readPhaseRows = (db: Kysely<Schema>, campaign: string): Promise<PhaseRow[]> =>
  db
    .selectFrom('campaign_phases')
    .selectAll()
    .where('campaign_id', '=', campaign)
    .orderBy('phase')
    .execute();

/** As the plan has them. */
export const phaseBodiesOf = (gates: readonly Gate[]): CampaignPhase[] =>
  gates.map(({ phase, released }) => ({ ...phase, released }));

/**
 * Looks at the fleet's numbers after they changed: pauses the campaign everywhere where too much failed, and lets phases that the fleet
 * judges be passed. Reads the rows of the campaign and its phases alone, however many devices there are.
 */
export const judgeCampaign = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  campaign: CampaignRow,
): Promise<void> => {
  if (campaign.state !== 'running') return;
  const gates = gatesOf(campaign, await readPhaseRows(tx.db, campaign.campaign_id));
  const policy = policyOfRow(campaign);
  const errors = fleetErrors(gates, policy);
  if (errors !== undefined) {
    await pauseEverywhere(deps, tx, campaign, errors);
    return;
  }
  const passed = gates.filter((gate) => isPassed(gate, gates, campaign, policy));
  for (const { index, row } of passed) {
    await tx.db
      .updateTable('campaign_phases')
      .set({ passed_at: deps.now() })
      .where('campaign_id', '=', campaign.campaign_id)
      .where('phase', '=', index)
      .execute();
    await recordAudit(tx, deps.now(), {
      action: 'campaign.phase_passed',
      actor: 'cloud',
      resource: campaignName(campaign.campaign_id),
      details: { phase: index + 1, succeeded: row.succeeded, total: row.total },
    });
  }
  if (passed.length === 0) return;
  await changeCampaign(deps, tx, campaign.campaign_id, {});
  await deps.plans.request(tx, await sitesOf(tx.db, campaign.campaign_id));
};

type Policy = ReturnType<typeof policyOfRow>;

/** Whether a phase that the fleet judges has what it wants now, and had not before. */
const isPassed = (
  { index, phase, row }: Gate,
  gates: readonly Gate[],
  campaign: CampaignRow,
  policy: Policy,
): boolean => {
  if (phase.judged_by !== 'fleet' || row.passed_at !== null || gates[index + 1] === undefined) {
    return false;
  }
  // What a site has made and was not heard of yet may be of this phase.
  if (campaign.total < campaign.targeted_count) return false;
  // A site that was not heard of has not succeeded, and one that has not begun the phase may have devices in it still.
  const heard = Math.min(campaign.reporting_count, row.entered_count);
  if (heard === 0 || heard * 100 < phase.success_percent * campaign.site_count) return false;
  return isReached({ ...phase, released: true }, countsOf(row), { policy });
};

/** What of the fleet's executions failed beyond what a phase allows; undefined where that is nothing. */
const fleetErrors = (gates: readonly Gate[], policy: Policy): string | undefined => {
  for (const { index, phase, row } of gates) {
    const tally = tallyOf(countsOf(row), { policy });
    const over = Math.max(0, tally.over - row.forgiven_over);
    const failed = Math.max(0, tally.failed - row.forgiven_failed);
    if (over > 0 && over >= phase.error_min_count && failed * 100 > phase.error_percent * over) {
      return `${failed} of ${over} failed in phase ${index + 1} of the whole fleet, more than ${phase.error_percent} %`;
    }
  }
  return undefined;
};

const pauseEverywhere = async (
  deps: CampaignRecordDependencies,
  tx: WriteTransaction,
  { campaign_id: id }: CampaignRow,
  reason: string,
): Promise<void> => {
  await changeCampaign(deps, tx, id, {
    state: 'paused',
    pause_reason: reason,
    paused_by: 'cloud',
    paused_at: deps.now(),
  });
  await recordAudit(tx, deps.now(), {
    action: 'campaign.paused',
    actor: 'cloud',
    resource: campaignName(id),
    reason,
  });
  await deps.plans.request(tx, await sitesOf(tx.db, id));
};

/** Holds nothing against the campaign any more that is over by now; to be called when somebody resumes it. */
export const forgiveErrors = async (
  { db }: WriteTransaction,
  campaign: CampaignRow,
): Promise<void> => {
  const policy = policyOfRow(campaign);
  for (const row of await readPhaseRows(db, campaign.campaign_id)) {
    const { over, failed } = tallyOf(countsOf(row), { policy });
    await db
      .updateTable('campaign_phases')
      .set({ forgiven_over: over, forgiven_failed: failed })
      .where('campaign_id', '=', campaign.campaign_id)
      .where('phase', '=', row.phase)
      .execute();
  }
};

/** The counters as the phase machine takes them: what is under way counts the same whatever it does. */
const countsOf = (row: PhaseRow) => ({
  queued: row.queued,
  in_progress: row.in_progress,
  succeeded: row.succeeded,
  unproven: row.unproven,
  failed: row.failed,
  rolled_back: row.rolled_back,
  cancelled: row.cancelled,
  superseded: row.superseded,
});
