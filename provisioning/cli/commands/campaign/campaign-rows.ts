/** Campaigns and what belongs to them in words, for people and for programs: the numbers of the wire mean nothing to anybody. */
import {
  type Campaign,
  type CampaignPhase,
  type CampaignPolicy,
  type CampaignProgress,
  CampaignState,
  campaignStateToJSON,
  type Execution,
  type ExecutionStatus,
  type ExecutionStep,
  executionStatusToJSON,
  phaseJudgeToJSON,
  phaseStateToJSON,
  type SiteProgress,
  unprovenOutcomeToJSON,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import { idOf } from '../sites.js';

export const stateOf = (campaign: Pick<Campaign, 'state'>): string =>
  campaignStateToJSON(campaign.state).replace('CAMPAIGN_STATE_', '').toLowerCase();

export const statusOf = (status: ExecutionStatus): string =>
  executionStatusToJSON(status).replace('EXECUTION_STATUS_', '').toLowerCase();

export const phaseStateOf = (phase: Pick<CampaignPhase, 'state'>): string =>
  phaseStateToJSON(phase.state).replace('PHASE_STATE_', '').toLowerCase();

type InWords<T, K extends keyof T> = Omit<T, K> & { readonly [key in K]: string };

export type CampaignRow = Omit<Campaign, 'state' | 'phases' | 'policy'> & {
  readonly state: string;
  readonly progress_text: string;
  readonly policy: InWords<CampaignPolicy, 'unprovenCounts'> | undefined;
  readonly phases: readonly InWords<CampaignPhase, 'state' | 'judgedBy'>[];
};

export const rowOf = (campaign: Campaign): CampaignRow => ({
  ...campaign,
  state: stateOf(campaign),
  policy: campaign.policy && {
    ...campaign.policy,
    unprovenCounts: unprovenOutcomeToJSON(campaign.policy.unprovenCounts)
      .replace('UNPROVEN_OUTCOME_', '')
      .toLowerCase(),
  },
  phases: campaign.phases.map((phase) => ({
    ...phase,
    state: phaseStateOf(phase),
    judgedBy: phaseJudgeToJSON(phase.judgedBy).replace('PHASE_JUDGE_', '').toLowerCase(),
  })),
  progress_text: progressOf(campaign),
});

/** What it installs, or that it is a job. */
export const contentOf = (campaign: Pick<Campaign, 'images' | 'document'>): string =>
  campaign.document === undefined ? campaign.images.map(idOf).join(', ') : 'job';

export const overOf = (p: CampaignProgress | undefined): bigint =>
  p === undefined
    ? 0n
    : p.succeeded + p.unproven + p.failed + p.rolledBack + p.cancelled + p.superseded;

/** What a person reads of it: where nothing was counted, why. */
export const progressOf = (campaign: Pick<Campaign, 'progress' | 'state'>): string => {
  const p = campaign.progress;
  if (p === undefined || p.total === 0n) return emptyProgress(campaign.state);
  const parts: [string, bigint][] = [
    ['queued', p.queued],
    ['in progress', p.inProgress],
    ['succeeded', p.succeeded],
    ['unproven', p.unproven],
    ['failed', p.failed],
    ['rolled back', p.rolledBack],
    ['cancelled', p.cancelled],
    ['superseded', p.superseded],
  ];
  const counts = parts.filter(([, count]) => count > 0n).map(([name, count]) => `${count} ${name}`);
  return [`${overOf(p)} of ${p.total} done`, ...counts].join(' · ');
};

const emptyProgress = (state: CampaignState): string => {
  if (state === CampaignState.CAMPAIGN_STATE_DRAFT) return 'not started';
  if (state === CampaignState.CAMPAIGN_STATE_SCHEDULED) return 'waits for its start time';
  if (state === CampaignState.CAMPAIGN_STATE_COMPLETED) {
    return 'no device matched: check its model, --site, --group, --label, --device and --from-version';
  }
  if (state === CampaignState.CAMPAIGN_STATE_CANCELLED) return 'cancelled before a site reported';
  return 'no site has reported yet';
};

/** An execution as both APIs show it. */
export interface ExecutionRow {
  readonly device: string;
  readonly status: string;
  readonly attempt: number;
  readonly from_version: string | null;
  readonly to_version: string;
  readonly error: string | null;
  /** Why it is not offered now, where that is known. */
  readonly waits_for?: string | null;
  /** Counts from 1; the control plane's alone. */
  readonly phase?: number;
  readonly door?: string | null;
  readonly number?: number | null;
}

/** A campaign as the gateway shows it: what it has of it, executions counted by status. */
export interface SiteCampaignRow {
  readonly campaign: string;
  readonly version: string;
  readonly state: string;
  /** Every device that it is for here is through. */
  readonly is_settled: boolean;
  readonly paused: { readonly by: string; readonly reason: string } | null;
  readonly executions: Readonly<Record<string, number>>;
  /** Why it offers nothing, or goes no further. */
  readonly waits_for: { readonly reason: string } | null;
}

export const executionRowOf = (execution: Execution): ExecutionRow => ({
  device: execution.device.replace(/^sites\//, '').replace('/devices/', '/'),
  status: statusOf(execution.status),
  attempt: execution.attempt,
  from_version: execution.fromVersion || null,
  to_version: execution.toVersion,
  error: execution.error || null,
  phase: execution.phase,
  door: execution.door || null,
  number: execution.number || null,
});

export interface StepRow {
  readonly device: string;
  readonly time: Date | undefined;
  readonly receive_time: Date | undefined;
  readonly status: string;
  readonly attempt: number;
  readonly to_version: string;
  readonly door: string | null;
  readonly error: string | null;
}

export const stepRowOf = (step: ExecutionStep): StepRow => ({
  device: (step.execution.split('/').at(-1) ?? '').replace(':', '/'),
  time: step.time,
  receive_time: step.receiveTime,
  status: statusOf(step.status),
  attempt: step.attempt,
  to_version: step.toVersion,
  door: step.door || null,
  error: step.error || null,
});

/** Who paused it, and why where a reason was given. */
export const pausedText = (by: string, reason: string): string =>
  `paused by ${by}${reason === '' ? '' : `: ${reason}`}`;

/** How a campaign stands at its site, as people there see it. */
export const stateAtSite = (
  row: Pick<SiteCampaignRow, 'state' | 'is_settled' | 'paused'>,
): string => {
  if (row.paused !== null) return pausedText(row.paused.by, row.paused.reason);
  if (!row.is_settled) return row.state;
  return row.state === 'cancelling' ? 'cancelled' : 'through';
};

/** Where a site stands, in a word or two. */
export const siteStateOf = (site: SiteProgress, state: CampaignState): string => {
  if (site.pausedBy !== '') return pausedText(site.pausedBy, site.pauseReason);
  if (site.settled) return 'through';
  if (!site.reporting) return 'not heard of yet';
  if (state === CampaignState.CAMPAIGN_STATE_SCHEDULED) return 'waits for its start time';
  return site.waitsFor === '' ? 'goes on' : site.waitsFor;
};

export const statusColour = (status: string) => {
  if (status === 'succeeded') return 'green';
  if (status === 'failed' || status === 'rolled_back') return 'red';
  return status === 'unproven' ? 'yellow' : undefined;
};

export const stateColour = (state: string) => {
  if (state === 'completed' || state === 'done') return 'green';
  if (state === 'paused') return 'yellow';
  return state === 'cancelled' || state === 'cancelling' ? 'dim' : undefined;
};
