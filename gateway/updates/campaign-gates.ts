/** Whether a campaign may offer anything at all now, and which phase it is in; what it waits for is said in one sentence. */
import type { PhasedCampaign, PhaseEvent } from '@holdfast/protos/semantics/phase-machine';
import { nextPhase } from '@holdfast/protos/semantics/phase-machine';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { PlanState, PlanView } from '../link/plan-view.js';
import { type Campaign, imageOf } from './campaign.js';
import type { CampaignRun } from './campaign-run.js';
import type { EmergencyStops } from './emergency-stop.js';
import type { Execution, ExecutionEvent } from './execution-state.js';
import type { Executions } from './executions.js';
import type { FirmwareRefusal, FirmwareVerdicts } from './firmware-releases.js';
import type { PlanAge } from './plan-age.js';

export interface CampaignGatesDeps {
  readonly plan: { current(): PlanView | undefined; state(): PlanState };
  readonly executions: Executions;
  readonly stops: EmergencyStops;
  readonly planAge: PlanAge;
  readonly isFenced: () => boolean;
  readonly verdicts: Pick<FirmwareVerdicts, 'refusal'>;
  readonly clock: Clock;
  /** Epoch ms that never run back while the program runs. */
  readonly time: () => number;
}

/** Why a campaign offers nothing, or goes no further. */
export interface CampaignWait {
  readonly code: string;
  /** In a sentence after "it". */
  readonly reason: string;
}

export class CampaignGates {
  readonly #deps: CampaignGatesDeps;
  /** The decision under way for each campaign: each begins with what the one before has left. */
  readonly #turns = new WeakMap<CampaignRun, Promise<unknown>>();

  constructor(deps: CampaignGatesDeps) {
    this.#deps = deps;
  }

  /** Whether the time has come that it was started for. */
  isStarted({ campaign }: CampaignRun): boolean {
    const { plan, clock } = this.#deps;
    const at = campaign.body.started_at;
    // A plan that was made after that time says so itself, whatever the clock here says.
    if (at <= (plan.current()?.head.issued_at ?? 0)) return true;
    return clock.trusted && at <= clock.now();
  }

  /** What keeps the campaign from offering anything; undefined when nothing does. */
  waitOf(run: CampaignRun): CampaignWait | undefined {
    const barred = this.#barred(run);
    if (barred !== undefined) return barred;
    const { gate, phases, campaign } = run;
    if (campaign.body.state === 'paused' || phases.paused !== null || phases.phase < 0) {
      return gate ?? { code: 'start', reason: 'waits for its start' };
    }
    return undefined;
  }

  /** What the control plane is told of: what keeps the campaign from going on, and time alone does not end. */
  toTell(run: CampaignRun, wait: CampaignWait | undefined): CampaignWait | null {
    const told = wait ?? run.gate;
    const isNews = told !== undefined && told !== null && !ownEntries.has(told.code);
    return isNews ? told : null;
  }

  /** What is to be done with an execution that the campaign offered; undefined when nothing is. */
  withdrawal(
    run: CampaignRun,
    execution: Execution,
  ): Extract<ExecutionEvent, { type: 'withdraw' }> | undefined {
    const stopped = this.#deps.stops.why();
    if (stopped !== undefined) return { type: 'withdraw', from: 'downloads', reason: stopped };
    const isPaused = run.campaign.body.state === 'paused' || run.phases.paused !== null;
    if (isPaused) {
      return { type: 'withdraw', from: 'offers', reason: 'waits until the campaign is resumed' };
    }
    // It may have been recalled, or have expired, since it was offered.
    const image = imageOf(run.campaign, execution);
    const refusal = image && this.#deps.verdicts.refusal(image);
    return refusal && { type: 'withdraw', from: 'offers', reason: notTrusted(refusal) };
  }

  /** Goes through the phases as far as may be. Resolves after the commit; whether anything changed. */
  async look(run: CampaignRun): Promise<boolean> {
    // While nothing may be offered no phase goes by either.
    if (this.#barred(run) !== undefined) return false;
    return this.#decide(run, { type: 'look', counts: run.counts }, 'cloud');
  }

  /** A person at the site; resolves after the commit. */
  async pause(run: CampaignRun, by: string, reason: string): Promise<void> {
    await this.#decide(run, { type: 'pause', by, reason }, by);
  }

  async resume(run: CampaignRun, by: string): Promise<void> {
    await this.#decide(run, { type: 'resume', counts: run.counts }, by);
  }

  #decide(run: CampaignRun, event: PhaseEvent, by: string): Promise<boolean> {
    const work = (): Promise<boolean> => this.#enter(run, event, by);
    const turn = (this.#turns.get(run) ?? Promise.resolve()).then(work, work);
    this.#turns.set(run, turn);
    return turn;
  }

  async #enter(run: CampaignRun, event: PhaseEvent, by: string): Promise<boolean> {
    const { state, wait } = nextPhase(run.phases, event, this.#phased(run), this.#deps.time());
    const isNew = state !== run.phases;
    if (isNew) await this.#deps.executions.enter(run, state, by);
    run.gate = wait;
    return isNew;
  }

  #phased(run: CampaignRun): PhasedCampaign {
    const { body } = run.campaign;
    const { clock, time } = this.#deps;
    // By the clock that does not jump.
    const until = Math.max(1, body.started_at - clock.now());
    return { ...body, started_at: this.isStarted(run) ? 0 : time() + until };
  }

  #barred({ campaign }: CampaignRun): CampaignWait | undefined {
    const { plan, stops, planAge, isFenced } = this.#deps;
    if (campaign.body.state === 'cancelling') {
      return { code: 'cancelling', reason: 'is being cancelled' };
    }
    const known = plan.current();
    if (known === undefined) {
      return { code: 'plan', reason: 'waits for the plan, which is not here' };
    }
    if (!known.documents.campaign.has(campaign.id)) {
      return { code: 'ended', reason: 'is not in the plan any more' };
    }
    if (isFenced()) {
      return { code: 'fenced', reason: 'waits: another gateway has this site now' };
    }
    const stopped = stops.why();
    if (stopped !== undefined) return { code: 'emergency_stop', reason: stopped };
    // A plan that has run out starts nothing new; what began goes on.
    if (plan.state() === 'expired') {
      return { code: 'plan_expired', reason: 'waits for a new plan: this one has run out' };
    }
    const ageMs = planAge.ageMs();
    const most = campaign.body.policy.max_plan_age_ms;
    if (ageMs > most) {
      const hours = Math.floor(ageMs / 3_600_000);
      const reason = `waits for the control plane, which was not heard for ${hours} h: no new device is offered it after ${Math.floor(most / 3_600_000)} h`;
      return { code: 'plan_age', reason };
    }
    return this.#refused(campaign);
  }

  /** None of its images can be trusted. */
  #refused({ images }: Campaign): CampaignWait | undefined {
    const refusals = images.map((image) => this.#deps.verdicts.refusal(image));
    const [first] = refusals;
    if (first === undefined || refusals.includes(undefined)) return undefined;
    return { code: first.code, reason: notTrusted(first) };
  }
}

const notTrusted = ({ code, message }: FirmwareRefusal): string =>
  `waits for firmware that can be trusted: ${code}, ${message}`;

/** Told by entries of their own, or of no interest: time alone ends them. */
const ownEntries: ReadonlySet<string> = new Set([
  'start',
  'duration',
  'paused',
  'paused_by_plan',
  'cancelling',
  'ended',
  'fenced',
]);
