/**
 * One pass over what changed since the last: what of the plan is new, which devices are targeted, what ran out, whose turn it is, which
 * campaign is settled. It begins with everything that is committed, so that nothing has to be remembered across a crash, and after that
 * looks at devices that something happened to, and at campaigns, never at every execution.
 */
import type { FirmwareBody, FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { type Device, isOnline } from '../devices/device.js';
import type { PlanState, PlanView } from '../link/plan-view.js';
import type { Availability } from './availability.js';
import { imageOf } from './campaign.js';
import type { CampaignGates } from './campaign-gates.js';
import type { CampaignRun } from './campaign-run.js';
import { type CampaignTurns, isSuperseded } from './campaign-turns.js';
import { DueTimes } from './due-times.js';
import type { Execution, ExecutionEvent } from './execution-state.js';
import type { Executions } from './executions.js';
import type { FirmwareVerdicts } from './firmware-releases.js';
import { PlanIntake } from './plan-intake.js';
import type { PlanMarks } from './plan-marks.js';

export interface CampaignPassDeps {
  readonly plan: { current(): PlanView | undefined; state(): PlanState };
  readonly devices: { get(device: string): Device | undefined; all(): Device[] };
  readonly firmware: {
    /** Whether it is here and verified. */
    isHeld(sha256: string): boolean;
    /** What is needed from now on: fetched if it is not here, and not evicted. */
    need(firmware: readonly FirmwareBody[]): void;
    /** Those of an image that are held, for devices that can apply them. */
    deltasOf?(sha256: string): readonly FirmwareDelta[];
  };
  /** Epoch ms that never run back while the program runs. */
  readonly time: () => number;
  readonly log: StoreLog;
}

/** The parts that it puts to work. */
export interface CampaignPassParts {
  readonly executions: Executions;
  readonly availability: Availability;
  readonly marks: PlanMarks;
  readonly turns: CampaignTurns;
  readonly gates: CampaignGates;
  readonly verdicts: FirmwareVerdicts;
}

type Event = readonly [campaign: string, device: string, event: ExecutionEvent];

/** Windows open by the wall clock, which may be set any time, and the plan grows older. */
const lookEveryMs = 30_000;

export class CampaignPass {
  readonly #deps: CampaignPassDeps;
  readonly #parts: CampaignPassParts;
  readonly #plan: PlanIntake;
  readonly #due = new DueTimes();
  /** Devices that something happened to. */
  readonly #dirty = new Set<string>();
  /** Executions found at the start, whose time is looked at before anything runs out. */
  #toResume: readonly (readonly [campaign: string, device: string])[];
  #forgetBefore: number | undefined;
  #lookAt = 0;
  #frees = -1;

  constructor(deps: CampaignPassDeps, parts: CampaignPassParts) {
    this.#deps = deps;
    this.#parts = parts;
    this.#plan = new PlanIntake(deps, parts);
    this.#toResume = [...parts.executions.live()].map(([{ id }, device]) => [id, device]);
    for (const [{ id }, device, execution] of parts.executions.live()) {
      this.#await(id, device, execution);
      this.#dirty.add(device);
    }
    for (const { device } of deps.devices.all()) this.deviceChanged(device);
  }

  deviceChanged(device: string): void {
    this.#plan.deviceChanged(device);
    this.#dirty.add(device);
    this.#count(device);
  }

  /** An execution was committed. */
  decided(campaign: string, device: string): void {
    this.#dirty.add(device);
    const execution = this.#parts.executions.run(campaign)?.live.get(device);
    if (execution !== undefined) this.#await(campaign, device, execution);
    this.#count(device);
  }

  planChanged(): void {
    this.#plan.planChanged();
  }

  /** What keeps executions is another: a firmware came, a stop was made or lifted. */
  allChanged(): void {
    for (const [, device] of this.#parts.executions.live()) this.#dirty.add(device);
    this.#lookAt = 0;
  }

  /** When there is something to do although nothing happens; undefined when never. */
  nextAt(): number | undefined {
    let at = this.#due.nextAt;
    let isLive = false;
    for (const run of this.#parts.executions.runs()) {
      if (run.live.size > 0 || (!run.isSettled && run.targetedAt === null)) isLive = true;
      const until = run.gate?.until ?? undefined;
      if (until !== undefined && (at === undefined || until < at)) at = until;
    }
    return isLive ? Math.min(at ?? Number.POSITIVE_INFINITY, this.#lookAt) : at;
  }

  /** One pass. Rejects as the commit queue does: then what it did not get to is still to be done. */
  async run(): Promise<void> {
    const { executions, gates, turns } = this.#parts;
    const now = this.#deps.time();
    await this.resume();
    if (await this.#plan.take()) this.allChanged();
    await this.#plan.target();
    await this.#lookAtDirty(now);
    for (const run of executions.runs()) await this.#step(run, () => gates.look(run));
    const isLooking = now >= this.#lookAt;
    if (isLooking) this.#lookAt = now + lookEveryMs;
    const { frees } = this.#parts.availability;
    const mayUnpark = isLooking || frees !== this.#frees;
    this.#frees = frees;
    for (const run of executions.runs()) {
      if (mayUnpark) run.unpark();
      const wait = gates.waitOf(run);
      await executions.tellWait(run, run.live.size === 0 ? null : gates.toTell(run, wait));
      if (wait === undefined) await this.#offer(run, turns);
    }
    await executions.settle((id) => this.#plan.isEnded(id));
    await this.#forget();
  }

  /** The next pass takes out campaigns that were settled before then, epoch ms, and that the plan names no more. */
  forgetBefore(before: number): void {
    this.#forgetBefore = before;
  }

  /** Gives what ran out while the gateway was away its time again. */
  async resume(): Promise<void> {
    await this.#parts.executions.decideAll(this.#toResume, ([id, device]) => [
      id,
      device,
      { type: 'resumed' },
    ]);
    this.#toResume = [];
  }

  /** A firmware is not whole at the gateway any more: its devices are not to pay for it. */
  async firmwareLost(sha256: string): Promise<void> {
    const error = 'the firmware is not whole at the gateway any more';
    const lost = [...this.#parts.executions.live()].filter(
      ([campaign, , execution]) => imageOf(campaign, execution)?.sha256 === sha256,
    );
    await this.#parts.executions.decideAll(lost, ([campaign, device]) => [
      campaign.id,
      device,
      { type: 'site_failed', error },
    ]);
  }

  /** What follows for executions of devices that something happened to, or whose time has come. */
  async #lookAtDirty(now: number): Promise<void> {
    for (const { campaign, device } of this.#due.take(now)) {
      this.#dirty.add(device);
      const execution = this.#parts.executions.run(campaign)?.live.get(device);
      // Its time has moved on since: it comes again.
      if (execution !== undefined && dueAt(execution) > now)
        this.#await(campaign, device, execution);
    }
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    try {
      const events = dirty.flatMap((device) => this.#eventsOf(device, now));
      await this.#parts.executions.decideAll(events, (event) => event);
    } catch (error) {
      for (const device of dirty) this.#dirty.add(device);
      throw error;
    }
  }

  #eventsOf(device: string, now: number): Event[] {
    const { executions, gates } = this.#parts;
    const runs = executions.runsOf(device);
    return runs.flatMap((run): Event[] => {
      const execution = run.live.get(device);
      if (execution === undefined) return [];
      const { id } = run.campaign;
      if (execution.deadline !== null && execution.deadline <= now) {
        return [[id, device, { type: 'ticked' }]];
      }
      // One that is disabled may come back to its turn; whatever is retired or deleted will not.
      if (this.#plan.isEnded(id) || this.#isGone(device)) return [[id, device, { type: 'cancel' }]];
      const isWaiting = execution.status === 'queued' || execution.status === 'offered';
      if (isWaiting && isSuperseded(run, runs)) return [[id, device, { type: 'supersede' }]];
      const withdraw = gates.withdrawal(run, execution);
      if (execution.status === 'queued') run.addCandidate(device);
      else if (withdraw !== undefined) return [[id, device, withdraw]];
      return [];
    });
  }

  async #step(run: CampaignRun, look: () => Promise<boolean>): Promise<void> {
    // Whatever it offered is looked at again.
    if (await look()) for (const device of run.live.keys()) this.#dirty.add(device);
  }

  async #offer(run: CampaignRun, turns: CampaignTurns): Promise<void> {
    const { executions } = this.#parts;
    const { id } = run.campaign;
    const { offers, refused, absent } = turns.choose(run);
    const events: Event[] = [
      ...offers.map(({ device }): Event => [id, device, this.#offerTo(device)]),
      ...refused.map(([device, { code, message }]): Event => {
        return [id, device, { type: 'refuse', error: `${code}: ${message}` }];
      }),
      ...absent.map((device): Event => {
        const reason = 'it went away, and others wait for its place';
        return [id, device, { type: 'withdraw', from: 'absent', reason }];
      }),
    ];
    try {
      await executions.decideAll(events, (event) => event);
    } catch (error) {
      for (const [, device] of events) this.#dirty.add(device);
      throw error;
    } finally {
      for (const { done } of offers) done();
    }
  }

  #offerTo(id: string): ExecutionEvent {
    const device = this.#deps.devices.get(id);
    const door = device?.door ?? 'native';
    // A run has its own name at each door; see proof-of-boot.ts.
    const boot = door === 'devices' || door === 'aws' ? device?.session : device?.boot;
    return { type: 'offer', door, boot: boot ?? null, version: device?.firmwareVersion ?? null };
  }

  async #forget(): Promise<void> {
    const { executions } = this.#parts;
    const before = this.#forgetBefore;
    if (before === undefined || this.#deps.plan.current() === undefined) return;
    this.#forgetBefore = undefined;
    for (const id of await executions.settledBefore(before)) {
      // One that is named would be taken up again as a new one.
      if (this.#deps.plan.current()?.documents.campaign.has(id)) continue;
      await executions.forget(id);
    }
  }

  /** When its time comes, by its deadline or its next attempt. */
  #await(campaign: string, device: string, execution: Execution): void {
    const at = dueAt(execution);
    if (at > 0) this.#due.add({ at, campaign, device });
  }

  #count(id: string): void {
    const { availability, turns } = this.#parts;
    const device = this.#deps.devices.get(id);
    const isInService = device !== undefined && isServing(device);
    const presence = device && {
      isInService,
      isMissing: !isOnline(device) || turns.isBusy(id),
    };
    availability.set(id, presence);
  }

  #isGone(device: string): boolean {
    const state = this.#deps.devices.get(device)?.lifecycle.state;
    return state === undefined || state === 'retired';
  }
}

const isServing = ({ lifecycle }: Device): boolean =>
  lifecycle.state !== 'disabled' && lifecycle.state !== 'retired';

/** 0: never. */
const dueAt = ({ status, deadline, notBefore }: Execution): number =>
  (status === 'queued' ? notBefore : deadline) ?? 0;
