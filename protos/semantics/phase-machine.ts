/**
 * The phases of a campaign at one site: which one it is in, what the next waits for, what pauses it. A pure function of what is committed,
 * what happened, the campaign's document and the counts of its executions. The control plane judges by the same numbers where a phase
 * is judged by the fleet.
 */
import type { CampaignPhase } from '../link/campaign-document.js';
import type { ExecutionStatus } from '../link/execution-status.js';
import { phaseOf } from './phase-hash.js';

/** How many executions of a phase have which status. */
export type PhaseCounts = Readonly<Partial<Record<ExecutionStatus, number>>>;

/** Who paused it: the errors at the site, or a person (`site:operator`). */
export interface Pause {
  readonly by: string;
  readonly reason: string;
}

export interface PhaseState {
  /** The phase that it is in, from 0; −1 before the first. */
  readonly phase: number;
  /** When it went on to that phase, epoch ms. */
  readonly since: number;
  readonly paused: Pause | null;
  /** By phase: what was over and had failed when somebody last resumed it; it is not held against the campaign again. */
  readonly forgiven: readonly Tally[];
  /** The plan's count of resumes that was heeded last. */
  readonly resumes: number;
}

export const beforePhases: PhaseState = {
  phase: -1,
  since: 0,
  paused: null,
  forgiven: [],
  resumes: 0,
};

/** What of a campaign's document its phases go by. */
export interface PhasedCampaign {
  readonly state: 'running' | 'paused' | 'cancelling';
  readonly started_at: number;
  readonly phases: readonly CampaignPhase[];
  readonly resumes: number;
  readonly policy: { readonly unproven_counts: 'success' | 'failure' };
}

export type PhaseEvent =
  /** Time went by, or an execution changed. `counts` are by phase. */
  | { readonly type: 'look'; readonly counts: readonly PhaseCounts[] }
  | { readonly type: 'pause'; readonly by: string; readonly reason: string }
  | { readonly type: 'resume'; readonly counts: readonly PhaseCounts[] };

/** What a campaign that goes on with what it has waits for before it goes further. */
export interface PhaseWait {
  readonly code:
    | 'start'
    | 'duration'
    | 'success'
    | 'fleet'
    | 'approval'
    | 'paused'
    | 'paused_by_plan';
  /** In a sentence after "it": `waits for …`. */
  readonly reason: string;
  /** When that changes by itself, epoch ms; null where time alone changes nothing. */
  readonly until: number | null;
}

export interface PhaseDecision {
  readonly state: PhaseState;
  /** Null in the last phase, and while it is cancelled. */
  readonly wait: PhaseWait | null;
}

/** Who pauses by errors. */
export const pausedByErrors = 'site';

export const nextPhase = (
  state: PhaseState,
  event: PhaseEvent,
  campaign: PhasedCampaign,
  now: number,
): PhaseDecision => {
  switch (event.type) {
    case 'pause':
      return decided(
        state.paused === null || state.paused.by === pausedByErrors
          ? { ...state, paused: { by: event.by, reason: event.reason } }
          : state,
        campaign,
      );
    case 'resume':
      return decided(resumed(state, event.counts, campaign), campaign);
    case 'look':
      return look(state, event.counts, campaign, now);
  }
};

/** Whether an execution of this phase may be offered now. */
export const mayOffer = (state: PhaseState, campaign: PhasedCampaign, phase: number): boolean =>
  campaign.state === 'running' && state.paused === null && phase <= state.phase;

const look = (
  before: PhaseState,
  counts: readonly PhaseCounts[],
  campaign: PhasedCampaign,
  now: number,
): PhaseDecision => {
  let state = heedPlan(before, counts, campaign);
  if (campaign.state !== 'running') return decided(state, campaign);
  if (state.paused === null) {
    const reason =
      tooManyErrors(state, counts, campaign) ?? tooLittleSuccess(state, counts, campaign);
    if (reason !== undefined) state = { ...state, paused: { by: pausedByErrors, reason } };
  }
  if (state.paused !== null) return decided(state, campaign);
  for (;;) {
    const wait = gate(state, counts, campaign, now);
    if (wait !== undefined || state.phase + 1 >= campaign.phases.length) {
      return { state, wait: wait ?? null };
    }
    state = { ...state, phase: state.phase + 1, since: now };
  }
};

/** A resume of the plan lifts what the site did by itself; what a person at the site paused is for people there to resume. */
const heedPlan = (
  state: PhaseState,
  counts: readonly PhaseCounts[],
  campaign: PhasedCampaign,
): PhaseState => {
  if (campaign.resumes <= state.resumes) return state;
  const heeded = { ...state, resumes: campaign.resumes };
  return state.paused?.by === pausedByErrors ? resumed(heeded, counts, campaign) : heeded;
};

const resumed = (
  state: PhaseState,
  counts: readonly PhaseCounts[],
  campaign: PhasedCampaign,
): PhaseState =>
  state.paused === null
    ? state
    : {
        ...state,
        paused: null,
        forgiven: campaign.phases.map((_, i) => tallyOf(counts[i] ?? {}, campaign)),
      };

const decided = (state: PhaseState, campaign: PhasedCampaign): PhaseDecision => {
  if (campaign.state === 'cancelling') return { state, wait: null };
  if (campaign.state === 'paused') {
    const reason = 'waits until it is resumed: it was paused in the cloud';
    return { state, wait: { code: 'paused_by_plan', reason, until: null } };
  }
  if (state.paused === null) return { state, wait: null };
  const { by, reason } = state.paused;
  const wait = {
    code: 'paused',
    reason: `waits until it is resumed: ${by} paused it, ${reason}`,
    until: null,
  } as const;
  return { state, wait };
};

/** What keeps the campaign from its next phase; undefined when nothing does. */
const gate = (
  state: PhaseState,
  counts: readonly PhaseCounts[],
  campaign: PhasedCampaign,
  now: number,
): PhaseWait | undefined => {
  const { phase, since } = state;
  const next = campaign.phases[phase + 1];
  if (next === undefined) return undefined;
  const name = `phase ${phase + 2} of ${campaign.phases.length}`;
  const current = campaign.phases[phase];
  if (current === undefined) {
    if (now < campaign.started_at) {
      return { code: 'start', reason: 'waits for its start time', until: campaign.started_at };
    }
  } else {
    const until = since + current.duration_ms;
    if (now < until) {
      return { code: 'duration', reason: `waits for the time of ${name}`, until };
    }
    if (current.judged_by === 'site' && !isPassed(state, counts, campaign)) {
      const reason = `waits for ${current.success_percent} % success in phase ${phase + 1} before ${name}`;
      return { code: 'success', reason, until: null };
    }
    if (current.judged_by === 'fleet' && !next.released) {
      const reason = `waits for the numbers of the fleet before ${name}`;
      return { code: 'fleet', reason, until: null };
    }
  }
  if (next.approval && !next.released) {
    return { code: 'approval', reason: `waits for approval of ${name}`, until: null };
  }
  return undefined;
};

/** Of a phase's executions: how many can count, how many of them are over, and how they came out. */
export interface Tally {
  readonly total: number;
  readonly over: number;
  readonly succeeded: number;
  readonly failed: number;
}

/** What was cancelled or superseded says nothing of the firmware, so it is not counted. */
export const tallyOf = (counts: PhaseCounts, { policy }: Pick<PhasedCampaign, 'policy'>): Tally => {
  const of = (status: ExecutionStatus): number => counts[status] ?? 0;
  const unproven = of('unproven');
  const good = policy.unproven_counts === 'success';
  const succeeded = of('succeeded') + (good ? unproven : 0);
  const failed = of('failed') + of('rolled_back') + (good ? 0 : unproven);
  let total = 0;
  for (const [status, count] of Object.entries(counts)) {
    if (status !== 'cancelled' && status !== 'superseded' && status !== 'cancelling')
      total += count;
  }
  return { total, over: succeeded + failed, succeeded, failed };
};

/** Whether a phase has the success that it wants. Where it has no executions there is nothing to wait for. */
export const isReached = (
  { success_percent }: CampaignPhase,
  counts: PhaseCounts,
  campaign: Pick<PhasedCampaign, 'policy'>,
): boolean => {
  const { total, succeeded } = tallyOf(counts, campaign);
  return succeeded * 100 >= success_percent * total;
};

/** Whether the present phase has its success, or somebody went on without it. */
const isPassed = (
  { phase, forgiven }: PhaseState,
  counts: readonly PhaseCounts[],
  campaign: PhasedCampaign,
): boolean => {
  const current = campaign.phases[phase];
  const own = counts[phase] ?? {};
  if (current === undefined || isReached(current, own, campaign)) return true;
  const { total } = tallyOf(own, campaign);
  return (forgiven[phase]?.over ?? 0) >= total;
};

/** Everything is over and the phase has not the success that it wants: nothing but a person will get it further. */
const tooLittleSuccess = (
  state: PhaseState,
  counts: readonly PhaseCounts[],
  campaign: PhasedCampaign,
): string | undefined => {
  const current = campaign.phases[state.phase];
  const isLast = state.phase + 1 >= campaign.phases.length;
  if (current === undefined || isLast || current.judged_by === 'fleet') return undefined;
  const { total, over, succeeded } = tallyOf(counts[state.phase] ?? {}, campaign);
  if (over < total || isPassed(state, counts, campaign)) return undefined;
  return `${succeeded} of ${total} succeeded in phase ${state.phase + 1}, and ${current.success_percent} % have to`;
};

const tooManyErrors = (
  state: PhaseState,
  counts: readonly PhaseCounts[],
  campaign: PhasedCampaign,
): string | undefined => {
  for (let i = 0; i <= state.phase; i += 1) {
    const phase = campaign.phases[i];
    if (phase === undefined) break;
    const { over, failed } = since(tallyOf(counts[i] ?? {}, campaign), state.forgiven[i]);
    if (over > 0 && over >= phase.error_min_count && failed * 100 > phase.error_percent * over) {
      return `${failed} of ${over} failed in phase ${i + 1}, more than ${phase.error_percent} %`;
    }
  }
  return undefined;
};

const since = (tally: Tally, forgiven: Tally | undefined): Pick<Tally, 'over' | 'failed'> => ({
  over: Math.max(0, tally.over - (forgiven?.over ?? 0)),
  failed: Math.max(0, tally.failed - (forgiven?.failed ?? 0)),
});

/** The phase that a device is in, from 0. */
export const phaseIndexOf = (
  phases: readonly Pick<CampaignPhase, 'percent'>[],
  campaign: string,
  device: string,
): number => {
  const at = phaseOf(campaign, device) * 100;
  const index = phases.findIndex(({ percent }) => at < percent);
  return index === -1 ? phases.length - 1 : index;
};
