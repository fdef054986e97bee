/** What people at the site see of campaigns and do about them: why something waits, pause and resume, and the stop of everything. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { CampaignGates } from './campaign-gates.js';
import type { CampaignRun } from './campaign-run.js';
import { type CampaignStanding, standingOf } from './campaign-standing.js';
import type { CampaignTurns } from './campaign-turns.js';
import type { EmergencyStops, StopState } from './emergency-stop.js';
import type { Executions } from './executions.js';

export interface SiteControlsDeps {
  readonly executions: Executions;
  readonly gates: CampaignGates;
  readonly turns: CampaignTurns;
  readonly stops: EmergencyStops;
  /** Resolves when what follows from a change is committed. */
  readonly changed: () => Promise<void>;
}

export class SiteControls {
  readonly #deps: SiteControlsDeps;

  constructor(deps: SiteControlsDeps) {
    this.#deps = deps;
  }

  /** What keeps a queued execution from being offered, in a sentence after "it"; undefined when it is its turn. */
  whyWaits(campaign: string, device: string): string | undefined {
    const { executions, gates, turns } = this.#deps;
    const run = executions.run(campaign);
    const execution = run?.live.get(device);
    if (run === undefined || execution === undefined) return undefined;
    if (execution.held) return execution.error ?? undefined;
    if (execution.status !== 'queued') return undefined;
    return gates.waitOf(run)?.reason ?? turns.waitOf(run, device, execution)?.reason;
  }

  /** The phase that a device belongs to, from 0; null where the campaign is not known. */
  phaseOf(campaign: string, device: string): number | null {
    return this.#deps.executions.run(campaign)?.phaseOf(device) ?? null;
  }

  /** How a campaign stands here; undefined when there is none of this name. */
  standing(campaign: string): CampaignStanding | undefined {
    const { executions, gates } = this.#deps;
    const run = executions.run(campaign);
    return run && standingOf(run, gates);
  }

  /** Somebody at the site pauses a campaign here. Resolves after the commit. Errors: RESOURCE_NOT_FOUND. */
  async pause(campaign: string, by: string, reason: string): Promise<void> {
    await this.#deps.gates.pause(this.#requireRun(campaign), by, reason);
    await this.#deps.changed();
  }

  /** Somebody at the site resumes what was paused here, by whomever. Resolves after the commit. Errors: RESOURCE_NOT_FOUND. */
  async resume(campaign: string, by: string): Promise<void> {
    await this.#deps.gates.resume(this.#requireRun(campaign), by);
    await this.#deps.changed();
  }

  /** Stops of every update that hold now. */
  emergencyStops(): readonly StopState[] {
    return this.#deps.stops.states();
  }

  /** Stops every update at this site until somebody lifts it. Resolves once nothing is offered any more. */
  async stopAll(by: string, reason: string): Promise<void> {
    await this.#deps.stops.stop(by, reason);
    await this.#deps.changed();
  }

  async liftStop(by: string, reason: string): Promise<void> {
    await this.#deps.stops.lift(by, reason);
    await this.#deps.changed();
  }

  #requireRun(campaign: string): CampaignRun {
    const run = this.#deps.executions.run(campaign);
    if (run !== undefined) return run;
    throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no campaign ${campaign} at this site`, {
      data: { next: 'holdfast --gateway campaign list' },
    });
  }
}
