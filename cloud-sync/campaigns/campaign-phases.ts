/** The phases of a campaign as the API says them: asked for, and with what became of them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  CampaignPhase,
  type CampaignProgress,
  PhaseJudge,
  PhaseState,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { optionalDate } from '../sites/site-messages.js';
import type { CounterColumns } from '../store/campaign-control-tables.js';
import type { Gate } from './campaign-gates.js';
import { whole } from './campaign-policy.js';
import type { CampaignRow } from './campaign-records.js';
import type { PhaseDefinition } from './campaign-row.js';

const mostPhases = 20;

/** Errors: REQUEST_INVALID. */
export const parsePhases = (phases: readonly CampaignPhase[]): PhaseDefinition[] => {
  if (phases.length > mostPhases) {
    throw new HoldfastError('REQUEST_INVALID', `A campaign has at most ${mostPhases} phases`);
  }
  const parsed = phases.map(parsePhase);
  let before = 0;
  for (const [index, { percent }] of parsed.entries()) {
    if (percent <= before) {
      throw wrong(
        index,
        `percent is ${percent} and has to be above ${before}: it counts from the beginning, the phases before included`,
      );
    }
    before = percent;
  }
  if (parsed.length > 0 && before !== 100) {
    throw wrong(parsed.length - 1, `percent is ${before}, and has to be 100 in the last phase`);
  }
  return parsed;
};

const parsePhase = (phase: CampaignPhase, index: number): PhaseDefinition => {
  const percentOf = (value: number, field: string): number => {
    if (value >= 0 && value <= 100) return value;
    throw wrong(index, `${field} is ${value}, and has to be 0 to 100`);
  };
  return {
    percent: percentOf(phase.percent, 'percent'),
    duration_ms: whole(phase.durationSeconds, `phase ${index + 1}: duration_seconds`) * 1000,
    success_percent: percentOf(phase.successPercent, 'success_percent'),
    // Of the plan's: more than this is too much, so that 100 never is.
    error_percent: percentOf(phase.errorPercent, 'error_percent') || 100,
    error_min_count: phase.errorMinCount,
    judged_by: phase.judgedBy === PhaseJudge.PHASE_JUDGE_FLEET ? 'fleet' : 'site',
    approval: phase.approval,
  };
};

const wrong = (index: number, text: string): HoldfastError =>
  new HoldfastError('REQUEST_INVALID', `phase ${index + 1}: ${text}`);

export const progressMessage = (row: CounterColumns): CampaignProgress => ({
  total: BigInt(row.total),
  queued: BigInt(row.queued),
  inProgress: BigInt(row.in_progress),
  succeeded: BigInt(row.succeeded),
  unproven: BigInt(row.unproven),
  failed: BigInt(row.failed),
  rolledBack: BigInt(row.rolled_back),
  cancelled: BigInt(row.cancelled),
  superseded: BigInt(row.superseded),
});

export const phaseMessage = (gate: Gate, gates: readonly Gate[], campaign: CampaignRow) => {
  const { phase, row, index } = gate;
  return CampaignPhase.fromPartial({
    percent: phase.percent,
    durationSeconds: BigInt(Math.round(phase.duration_ms / 1000)),
    successPercent: phase.success_percent,
    errorPercent: phase.error_percent === 100 ? 0 : phase.error_percent,
    errorMinCount: phase.error_min_count,
    judgedBy:
      phase.judged_by === 'fleet' ? PhaseJudge.PHASE_JUDGE_FLEET : PhaseJudge.PHASE_JUDGE_SITE,
    approval: phase.approval,
    number: index + 1,
    state: stateOf(gate),
    waitsFor: waitsFor(gate, gates, campaign),
    progress: progressMessage(row),
    approvedBy: row.approved_by,
    approveTime: optionalDate(row.approved_at),
    releasedBy: row.released_by,
    releaseTime: optionalDate(row.released_at),
    enteredSiteCount: row.entered_count,
  });
};

const stateOf = ({ row, released }: Gate): PhaseState => {
  const open = row.queued + row.in_progress;
  if (row.entered_count > 0) {
    return open === 0 && row.total > 0
      ? PhaseState.PHASE_STATE_DONE
      : PhaseState.PHASE_STATE_RUNNING;
  }
  return released ? PhaseState.PHASE_STATE_RELEASED : PhaseState.PHASE_STATE_WAITING;
};

/** What holds a phase back that no site has begun, in words; empty for nothing. */
const waitsFor = (gate: Gate, gates: readonly Gate[], campaign: CampaignRow): string => {
  if (gate.row.entered_count > 0 || campaign.ended_at !== null) return '';
  const before = gates[gate.index - 1];
  const waits = [
    ...(gate.needsApproval ? ['approval'] : []),
    ...(gate.needsFleet && before !== undefined ? [fleetWait(before, campaign)] : []),
  ];
  if (waits.length > 0) return waits.join(', and ');
  if (before === undefined) {
    return campaign.state === 'scheduled' ? 'its start time' : '';
  }
  return before.phase.judged_by === 'site' && before.phase.success_percent > 0
    ? `${before.phase.success_percent} % success in phase ${before.index + 1}, at each site by itself`
    : '';
};

const fleetWait = ({ index, phase, row }: Gate, { site_count, reporting_count }: CampaignRow) => {
  const heard = Math.min(reporting_count, row.entered_count);
  const sites = heard < site_count ? `; ${heard} of ${site_count} sites have begun it` : '';
  return `${phase.success_percent} % success of the whole fleet in phase ${index + 1} (${row.succeeded} of ${row.total} so far${sites})`;
};
