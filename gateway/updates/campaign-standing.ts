/** How a campaign stands at this site, for people: its phase, what it waits for, its executions by status and by phase. */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';
import type { Pause } from '@holdfast/protos/semantics/phase-machine';
import type { Campaign } from './campaign.js';
import type { CampaignGates, CampaignWait } from './campaign-gates.js';
import type { CampaignRun } from './campaign-run.js';

export interface CampaignStanding {
  readonly campaign: Campaign;
  /** The phase that it is in, from 0; −1 before the first. */
  readonly phase: number;
  readonly paused: Pause | null;
  /** Why it offers nothing, or goes no further; null when nothing keeps it. */
  readonly waits: CampaignWait | null;
  readonly counts: Readonly<Partial<Record<ExecutionStatus, number>>>;
  readonly countsByPhase: CampaignRun['counts'];
  readonly isSettled: boolean;
}

export const standingOf = (run: CampaignRun, gates: CampaignGates): CampaignStanding => ({
  campaign: run.campaign,
  phase: run.phases.phase,
  paused: run.phases.paused,
  waits: run.isSettled ? null : (gates.waitOf(run) ?? run.gate),
  counts: run.totals(),
  countsByPhase: run.counts,
  isSettled: run.isSettled,
});
