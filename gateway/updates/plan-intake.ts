/** Takes up what the plan says: verifies its firmware, takes its campaigns, and finds the devices that they are for. */
import type { PlanView } from '../link/plan-view.js';
import { type Campaign, targeting } from './campaign.js';
import type { CampaignPassDeps, CampaignPassParts } from './campaign-pass.js';
import type { CampaignRun } from './campaign-run.js';

export class PlanIntake {
  readonly #deps: Omit<CampaignPassDeps, 'time'>;
  readonly #parts: Omit<CampaignPassParts, 'turns'>;
  #isNew = true;
  /** Devices that may have come to be targeted. */
  readonly #candidates = new Set<string>();
  /** Digests of what the firmware cache was told last. */
  #needed = '';

  constructor(deps: Omit<CampaignPassDeps, 'time'>, parts: Omit<CampaignPassParts, 'turns'>) {
    this.#deps = deps;
    this.#parts = parts;
    // What was under way goes on, and asks, before the plan is taken for the first time.
    const plan = deps.plan.current();
    if (plan !== undefined) this.#limit(plan);
  }

  planChanged(): void {
    this.#isNew = true;
    for (const { device } of this.#deps.devices.all()) this.#candidates.add(device);
  }

  deviceChanged(device: string): void {
    this.#candidates.add(device);
  }

  /** Resolves after the commits; whether anything may be otherwise from now on. */
  async take(): Promise<boolean> {
    const plan = this.#deps.plan.current();
    if (plan === undefined) return false;
    const { verdicts } = this.#parts;
    const isNew = this.#isNew;
    // What was good when the plan came may have expired.
    const isOld = !isNew && verdicts.isOld();
    if (isNew) await this.#takeNew(plan);
    else if (isOld) await verdicts.take(plan);
    this.#need(plan);
    return isNew || isOld;
  }

  async #takeNew(plan: PlanView): Promise<void> {
    const { executions, marks, verdicts } = this.#parts;
    this.#isNew = false;
    try {
      await verdicts.take(plan);
      marks.take(plan);
      for (const { id, body } of plan.documents.campaign.values()) {
        const images = body.firmware.flatMap(
          (firmware) => plan.documents.firmware.get(firmware)?.body ?? [],
        );
        if (images.length < body.firmware.length) {
          this.#deps.log.error({ campaign: id }, 'the plan has a campaign without its firmware');
          continue;
        }
        await executions.take({ id, body, images });
      }
    } catch (error) {
      this.#isNew = true;
      throw error;
    }
    this.#limit(plan);
  }

  #limit(plan: PlanView): void {
    const { availability, marks } = this.#parts;
    const running = this.#running(plan);
    availability.configure(
      running.flatMap(({ campaign }) => campaign.body.policy.disruption),
      marks.groups,
    );
  }

  /** Images of campaigns that have begun, as far as they can be trusted. */
  #need(plan: PlanView): void {
    const { gates, verdicts } = this.#parts;
    const needed = this.#running(plan)
      .filter((run) => gates.isStarted(run))
      .flatMap(({ campaign }) => campaign.images)
      .filter((image) => verdicts.refusal(image) === undefined);
    const digests = needed.map(({ sha256 }) => sha256).join();
    if (digests === this.#needed) return;
    this.#needed = digests;
    this.#deps.firmware.need(needed);
  }

  /** Makes executions for devices that are targeted. Rejects as the commit queue does: then they are looked at again. */
  async target(): Promise<void> {
    const plan = this.#deps.plan.current();
    if (plan === undefined) return;
    const { executions, marks, gates, verdicts } = this.#parts;
    const running = this.#running(plan).filter((run) => gates.isStarted(run));
    const candidates = [...this.#candidates];
    // Whoever changes meanwhile is looked at again.
    this.#candidates.clear();
    try {
      const devices = candidates.flatMap((id) => this.#deps.devices.get(id) ?? []);
      for (const run of running) {
        const isFirst = run.targetedAt === null;
        if (!isFirst && !run.campaign.body.target.late_joiners) continue;
        if (this.#cannotChoose(run.campaign)) {
          for (const device of candidates) this.#candidates.add(device);
          continue;
        }
        const of = isFirst ? this.#deps.devices.all() : devices;
        const decide = targeting(run.campaign, verdicts.runsOn);
        const targeted = of.flatMap((device) => decide(device, marks.of(device)) ?? []);
        await executions.target(run.campaign.id, targeted);
        if (isFirst) await executions.targeted(run);
      }
    } catch (error) {
      for (const device of candidates) this.#candidates.add(device);
      throw error;
    }
  }

  /** Which of its images a device gets stands in what is signed of them, and that cannot be trusted now. */
  #cannotChoose({ images }: Campaign): boolean {
    const models = new Set(images.map(({ model }) => model));
    if (models.size === images.length) return false;
    return images.some((image) => this.#parts.verdicts.refusal(image) !== undefined);
  }

  /** Of a plan that is there: one that it does not name, or that is to end. */
  isEnded(id: string): boolean {
    const plan = this.#deps.plan.current();
    if (plan === undefined) return false;
    const state = plan.documents.campaign.get(id)?.body.state;
    return state === undefined || state === 'cancelling';
  }

  #running(plan: PlanView): CampaignRun[] {
    return [...this.#parts.executions.runs()].filter(
      ({ campaign }) => plan.documents.campaign.has(campaign.id) && !this.isEnded(campaign.id),
    );
  }
}
