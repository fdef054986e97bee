/**
 * One pass over everything that is not over: what of the plan is new, which devices are targeted, what ran out, whose turn it is, which
 * campaign is settled. It finds all of that in the committed rows, so that nothing has to be remembered across a crash.
 */
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Device } from '../devices/device.js';
import type { Door } from '../devices/device-events.js';
import type { PlanState, PlanView } from '../link/plan-view.js';
import { type Campaign, chooseTurns, type LiveExecution, targeting } from './campaign.js';
import type { Execution, ExecutionEvent } from './execution-state.js';
import type { Executions } from './executions.js';
import type { Closed, SiteWindows } from './site-windows.js';

export interface CampaignPassDeps {
  readonly plan: { current(): PlanView | undefined; state(): PlanState };
  readonly devices: { get(device: string): Device | undefined; all(): Device[] };
  readonly firmware: {
    /** Whether it is here and verified. */
    isHeld(sha256: string): boolean;
    /** What is needed from now on: fetched if it is not here, and not evicted. */
    need(firmware: readonly FirmwareBody[]): void;
  };
  readonly isFenced: () => boolean;
  /** Without them devices begin at any time. */
  readonly windows?: Pick<SiteWindows, 'closed'>;
  /** Epoch ms that never run back while the program runs. */
  readonly time: () => number;
  readonly log: StoreLog;
}

export class CampaignPass {
  readonly #deps: CampaignPassDeps;
  readonly #executions: Executions;
  #isPlanNew = true;
  /** Devices that may have come to be targeted. */
  readonly #candidates = new Set<string>();
  /** Executions found at the start, whose time is looked at before anything runs out. */
  #toResume: readonly (readonly [campaign: string, device: string])[];
  #forgetBefore: number | undefined;

  constructor(deps: CampaignPassDeps, executions: Executions) {
    this.#deps = deps;
    this.#executions = executions;
    this.#toResume = [...executions.live()].map(([{ id }, device]) => [id, device]);
    this.allChanged();
  }

  deviceChanged(device: string): void {
    this.#candidates.add(device);
  }

  planChanged(): void {
    this.#isPlanNew = true;
    this.allChanged();
  }

  allChanged(): void {
    for (const { device } of this.#deps.devices.all()) this.#candidates.add(device);
  }

  /** One pass. Rejects as the commit queue does: then what it did not get to is still to be done. */
  async run(): Promise<void> {
    await this.resume();
    if (this.#isPlanNew) await this.#takePlan();
    await this.#targetCandidates();
    const now = this.#deps.time();
    const overdue = [...this.#executions.live()].filter(
      ([, , { deadline }]) => deadline !== null && deadline <= now,
    );
    await this.#executions.decideAll(overdue, ([{ id }, device]) => [
      id,
      device,
      { type: 'ticked' },
    ]);
    await this.#cancelEnded(({ status }) => status === 'queued');
    const turns = chooseTurns(
      this.#live(),
      this.#deps.firmware.isHeld,
      now,
      (device) => this.whyWaits(device) === undefined,
    );
    await this.#executions.decideAll(turns.supersede, (turn) => [
      turn.campaign,
      turn.device,
      { type: 'supersede' },
    ]);
    // A plan that has run out starts nothing new, and a fenced gateway has no say; what began goes on.
    if (this.#deps.plan.state() !== 'expired' && !this.#deps.isFenced()) {
      await this.#executions.decideAll(turns.offer, (turn) => [
        turn.campaign,
        turn.device,
        this.#offer(turn.device),
      ]);
    }
    await this.#executions.settle();
    await this.#forget();
  }

  /** The next pass takes out campaigns that were settled before then, epoch ms, and that the plan names no more. */
  forgetBefore(before: number): void {
    this.#forgetBefore = before;
  }

  async #forget(): Promise<void> {
    const before = this.#forgetBefore;
    const plan = this.#deps.plan.current();
    if (before === undefined || plan === undefined) return;
    this.#forgetBefore = undefined;
    for (const id of await this.#executions.settledBefore(before)) {
      // One that is named would be taken up again as a new one.
      if (this.#deps.plan.current()?.documents.campaign.has(id)) continue;
      await this.#executions.forget(id);
    }
  }

  /** Gives what ran out while the gateway was away its time again. */
  async resume(): Promise<void> {
    await this.#executions.decideAll(this.#toResume, ([id, device]) => [
      id,
      device,
      { type: 'resumed' },
    ]);
    this.#toResume = [];
  }

  /**
   * What keeps a device from an offer now. One that asks before it installs is offered its update as soon as it may download; the others
   * do as they like once it is offered, so for them both have to be open.
   */
  whyWaits(device: Device): Closed | undefined {
    const { windows } = this.#deps;
    const canWait = asksFirst.includes(device.door);
    return (
      windows?.closed('download', device) ??
      (canWait ? undefined : windows?.closed('install', device))
    );
  }

  #live(): LiveExecution[] {
    return [...this.#executions.live()].flatMap(([campaign, id, execution]) => {
      const device = this.#deps.devices.get(id);
      return device === undefined ? [] : [{ campaign, device, execution }];
    });
  }

  #offer(id: string): ExecutionEvent {
    const device = this.#deps.devices.get(id);
    const door = device?.door ?? 'native';
    // A run has its own name at each door; see proof-of-boot.ts.
    const boot = door === 'devices' ? device?.session : device?.boot;
    return { type: 'offer', door, boot: boot ?? null, version: device?.firmwareVersion ?? null };
  }

  async #takePlan(): Promise<void> {
    const plan = this.#deps.plan.current();
    if (plan === undefined) return;
    this.#isPlanNew = false;
    try {
      for (const { id, body } of plan.documents.campaign.values()) {
        const images = body.firmware.flatMap(
          (firmware) => plan.documents.firmware.get(firmware)?.body ?? [],
        );
        if (images.length < body.firmware.length) {
          this.#deps.log.error({ campaign: id }, 'the plan has a campaign without its firmware');
          continue;
        }
        await this.#executions.take({ id, body, images });
      }
      await this.#cancelEnded(() => true);
    } catch (error) {
      this.#isPlanNew = true;
      throw error;
    }
    this.#deps.firmware.need(this.#running(plan).flatMap(({ images }) => images));
  }

  /** An attempt that could not be called back any more may fail after its campaign's end, and would wait for its next turn. */
  async #cancelEnded(concerns: (execution: Execution) => boolean): Promise<void> {
    const plan = this.#deps.plan.current();
    if (plan === undefined) return;
    const isEnded = (id: string): boolean =>
      plan.documents.campaign.get(id)?.body.state !== 'running';
    // One that is disabled may come back to its turn; whatever is retired or deleted will not.
    const isGone = (device: string): boolean => {
      const state = this.#deps.devices.get(device)?.lifecycle.state;
      return state === undefined || state === 'retired';
    };
    const ended = [...this.#executions.live()].filter(
      ([{ id }, device, execution]) => (concerns(execution) && isEnded(id)) || isGone(device),
    );
    await this.#executions.decideAll(ended, ([{ id }, device]) => [id, device, { type: 'cancel' }]);
  }

  async #targetCandidates(): Promise<void> {
    const plan = this.#deps.plan.current();
    if (plan === undefined) return;
    const candidates = [...this.#candidates];
    // Whoever changes meanwhile is looked at again.
    this.#candidates.clear();
    try {
      const devices = candidates.flatMap((id) => this.#deps.devices.get(id) ?? []);
      for (const campaign of this.#running(plan)) {
        const decide = targeting(campaign);
        const targeted = devices.filter((device) => decide(device) === 'targeted');
        await this.#executions.target(campaign.id, targeted);
      }
    } catch (error) {
      for (const device of candidates) this.#candidates.add(device);
      throw error;
    }
  }

  #running(plan: PlanView): Campaign[] {
    return this.#executions
      .campaigns()
      .filter(({ id }) => plan.documents.campaign.get(id)?.body.state === 'running');
  }
}

/** Doors whose protocol has the device ask before it installs. */
export const asksFirst: readonly Door[] = ['native', 'serial'];
