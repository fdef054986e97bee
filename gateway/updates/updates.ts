/**
 * Carries campaigns out, by the plan alone: the WAN is not needed for anything here.
 *
 * Events of devices are decided on as they come (`Executions`). All that follows from them (whose turn it is, what ran out, which
 * campaign is settled) is found in passes (`CampaignPass`); one is due after each change and when the earliest time comes.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type {
  JobExecutionPayload,
  JobStatus,
  JobUpdateRequest,
} from '@holdfast/protos/mqtt/job-payload';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { ClockCorrection } from '@holdfast/provisioning/time/trusted-clock';
import type { OutboundMessage } from '../broker/broker.js';
import type { DeviceFacts } from '../devices/device.js';
import type { Door, JobAnswer, StatusSent } from '../devices/device-events.js';
import type { DeviceChange } from '../devices/devices.js';
import type { PlanChange } from '../link/plan-view.js';
import type { Performer } from '../store/outbox.js';
import type { SiteStore } from '../store/site-store.js';
import type { Campaign } from './campaign.js';
import type { CampaignPass, CampaignPassDeps } from './campaign-pass.js';
import {
  type DeviceExecutions,
  type ExecutionReport,
  type ExecutionView,
  type ReportAnswer,
  type ReportRefusal,
  type TellDevice,
  viewOf,
} from './device-executions.js';
import { isUnderWay } from './execution.js';
import { reportExecution } from './execution-intake.js';
import { notifyKind } from './execution-rows.js';
import type { Execution, ExecutionEvent, ReportedStatus } from './execution-state.js';
import type { Executions } from './executions.js';
import type { FirmwareRefusal, FirmwareVerdicts } from './firmware-releases.js';
import { olderStatus } from './older-status.js';
import { type Campaigns, openCampaigns } from './open-campaigns.js';
import { PassTimer } from './pass-timer.js';
import { SiteControls } from './site-controls.js';
import type { Closed, SiteWindows } from './site-windows.js';
import { nextOf, TellDevices } from './tell-devices.js';
import { jobOf } from './told.js';

export interface UpdatesDeps {
  readonly site: SiteStore;
  readonly outbox: { register(kind: string, performer: Performer): void };
  readonly plan: CampaignPassDeps['plan'] & {
    onChange(listener: (change: PlanChange) => void): () => void;
  };
  readonly devices: CampaignPassDeps['devices'] & {
    learned(device: string, facts: DeviceFacts): void;
    onChange(listener: (change: DeviceChange) => void): () => void;
    onGone(listener: (device: string) => void): () => void;
  };
  readonly firmware: CampaignPassDeps['firmware'] & {
    /** Told when one came or was lost. Returns how to stop it. */
    onChange(listener: (sha256: string) => void): () => void;
  };
  /** Resolves after every copy owed is committed. */
  readonly publish: (message: OutboundMessage) => Promise<void>;
  /** Offers an update over a serial line; without it devices on lines wait. */
  readonly offerOnLine?: (device: string, job: JobExecutionPayload) => Promise<void>;
  /** Tells of any change who flashes this device in its place; false where nobody does. */
  readonly toldOnLine?: (device: string) => boolean;
  /** Devices that can be changed without being connected; without it there are none. */
  readonly isReachable?: (device: string) => boolean;
  readonly isFenced: () => boolean;
  readonly verdicts: FirmwareVerdicts;
  /** When the control plane was last known to have nothing newer, epoch ms; without it every plan counts as new. */
  readonly asOf?: () => number | null;
  /** When updates may begin; without them at any time. */
  readonly windows?: Pick<SiteWindows, 'closed'>;
  readonly clock: Clock;
  readonly log: StoreLog;
}

export interface UpdatesOptions {
  /** How long changes are gathered before a pass, ms. */
  readonly passAfterMs?: number;
}

export class Updates implements DeviceExecutions {
  readonly #deps: UpdatesDeps;
  readonly #startedAt: number;
  readonly #startedMonotonic: number;
  readonly #stops: (() => void)[] = [];
  readonly #tell: TellDevices;
  readonly #passes: PassTimer;
  #opened: Campaigns | undefined;

  constructor(deps: UpdatesDeps, options: UpdatesOptions = {}) {
    this.#deps = deps;
    this.#startedAt = deps.clock.now();
    this.#startedMonotonic = deps.clock.monotonic();
    this.#passes = new PassTimer(
      {
        pass: () => this.#pass.run(),
        nextAt: () => this.#opened?.pass.nextAt(),
        time: this.#time,
        log: deps.log,
      },
      { passAfterMs: options.passAfterMs ?? 20 },
    );
    this.#tell = new TellDevices({
      ...deps,
      executions: () => this.#executions,
      deltasOf: this.#deltasOf,
    });
    deps.outbox.register(notifyKind, (body) => this.#tell.perform(body));
  }

  /** Takes up what is on disk; what ran out while the gateway was away gets its time again. */
  async open(): Promise<void> {
    const { plan, devices, firmware } = this.#deps;
    const parts = await openCampaigns(this.#deps, {
      time: this.#time,
      changed: () => this.#passes.soon(),
    });
    const { pass } = parts;
    this.#opened = parts;
    // A full disk is no reason not to serve: the first pass that can be committed begins with this.
    await pass
      .resume()
      .catch((err: unknown) =>
        this.#deps.log.warn({ err }, 'what ran out while the gateway was away waits for the disk'),
      );
    this.#stops.push(
      plan.onChange(() => {
        pass.planChanged();
        this.#passes.soon();
      }),
      devices.onGone((device) => {
        pass.deviceChanged(device);
        this.#passes.soon();
      }),
      devices.onChange(({ device }) => {
        pass.deviceChanged(device.device);
        this.#passes.soon();
      }),
      firmware.onChange((sha256) => {
        if (!firmware.isHeld(sha256)) return void this.#firmwareLost(sha256);
        pass.allChanged();
        this.#passes.soon();
      }),
    );
    this.#passes.soon();
  }

  /** Forgets campaigns that were settled before then, epoch ms, and that the plan names no more. */
  async forget(before: number): Promise<void> {
    if (this.#opened === undefined) return;
    this.#pass.forgetBefore(before);
    await this.#passes.now();
  }

  /** To be called at once when the time that was taken for right turned out to be another; resolves after the commit. */
  async correct({ step }: Pick<ClockCorrection, 'step'>): Promise<void> {
    await this.#opened?.executions.correct(step);
  }

  /** Waits for what is under way. Idempotent. */
  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    await this.#passes.close();
    await this.#opened?.executions.idle();
  }

  /** Resolves when everything that follows from what happened so far is committed. */
  settled(): Promise<void> {
    return this.#passes.now();
  }

  /** A device asks for a job, or for its next one through this door. */
  async asked(device: string, job: string | null, door: Door = 'native'): Promise<JobAnswer> {
    if (job === null)
      return { accepted: true, execution: nextOf(this.#executions, device, door, this.#deltasOf) };
    const campaign = this.#executions.campaign(job);
    const execution = await this.#executions.get(job, device);
    return campaign === undefined || execution === undefined
      ? notFound(job)
      : { accepted: true, execution: jobOf(campaign, execution, this.#deltasOf) };
  }

  /** A device reports on the job topics, or in the same words over a serial line. */
  async updated(
    device: string,
    job: string,
    update: JobUpdateRequest,
    door: Door = 'native',
  ): Promise<JobAnswer> {
    const { status, progress, error, boot_id, version, details, expected_version } = update;
    const answer = await this.report(device, job, {
      door,
      status: statusOfJob(status),
      ...(progress === undefined ? {} : { progress }),
      ...(error === undefined ? {} : { error }),
      ...(status === 'rejected' && error === undefined ? { error: 'the device refuses it' } : {}),
      ...(boot_id === undefined ? {} : { boot: boot_id }),
      ...(version === undefined ? {} : { version }),
      ...(details === undefined ? {} : { details }),
      ...(expected_version === undefined ? {} : { expectedVersion: expected_version }),
    });
    if (answer.accepted) {
      const { campaign, execution } = answer.view;
      return { accepted: true, execution: jobOf(campaign, execution, this.#deltasOf) };
    }
    const { reason, message } = answer;
    return { accepted: false, code: codes[reason], message };
  }

  /** A device reports in the older set's words. */
  async reported(event: StatusSent): Promise<void> {
    const status = olderStatus(event.status);
    if (status === undefined) {
      const { device, campaign } = event;
      this.#deps.log.warn({ device, campaign, status: event.status }, 'an unknown update status');
      return;
    }
    await this.report(event.device, event.campaign, {
      door: 'devices',
      status,
      boot: event.session,
      ...(event.progress === undefined ? {} : { progress: event.progress }),
      ...(event.error === undefined ? {} : { error: event.error }),
    });
  }

  async report(device: string, job: string, report: ExecutionReport): Promise<ReportAnswer> {
    const { executions, turns } = this.#parts;
    return reportExecution({ executions, turns, heldBy: this.#heldBy }, device, job, report);
  }

  executionsOf(device: string): readonly ExecutionView[] {
    return [...this.#executions.liveOf(device)]
      .filter(([, { status }]) => isUnderWay(status))
      .map(([campaign, execution]) => viewOf(campaign, device, execution))
      .sort((a, b) => a.queuedAt - b.queuedAt || a.execution.offers - b.execution.offers);
  }

  /** The window that keeps a device from beginning now; undefined when none does. */
  windowWait(device: string): Closed | undefined {
    const known = this.#deps.devices.get(device);
    return known && this.#parts.turns.windowWait(known);
  }

  /**
   * For who changes a device in its place: whether that may begin now. What it is given it holds until `done`. Undefined: there is nothing
   * to begin.
   */
  mayBegin(
    device: string,
    job: string,
  ): { readonly closed: Closed } | { readonly done: () => void } | undefined {
    const run = this.#executions.run(job);
    const execution = run?.live.get(device);
    return run && execution && this.#parts.turns.mayChange(run, device, execution);
  }

  /** Why a device may not be given what is under way for it, by what is trusted now; undefined when it may. */
  refusalOf(device: string, job: string): FirmwareRefusal | undefined {
    const run = this.#executions.run(job);
    const execution = run?.live.get(device);
    return run && execution && this.#parts.turns.refusalOf(run, device, execution);
  }

  /** Why no update may begin at this site, in a sentence after "it"; undefined when it may. */
  whyStopped(): string | undefined {
    return this.#parts.stops.why();
  }

  /** A device can be reached from now on, or no longer, whatever it says itself. */
  reachabilityChanged(device: string): void {
    this.#opened?.pass.deviceChanged(device);
    this.#passes.soon();
  }

  /** Whether a device may load this image, or delta, now: while all updates are stopped only what has begun to change it goes on. */
  mayLoad(device: string, sha256: string): boolean {
    if (this.#parts.stops.why() === undefined) return true;
    return this.executionsOf(device).some(
      ({ image }) =>
        image !== null &&
        (image.sha256 === sha256 ||
          this.#deltasOf(image.sha256).some((delta) => delta.sha256 === sha256)),
    );
  }

  /** Whether something is under way for a device, or waits for its turn. */
  hasWork(device: string): boolean {
    return this.#executions.liveOf(device).next().done !== true;
  }

  async executionOf(device: string, job: string): Promise<ExecutionView | undefined> {
    const campaign = this.#executions.campaign(job);
    const execution = await this.#executions.getDecided(job, device);
    return campaign && execution && viewOf(campaign, device, execution);
  }

  async heard(device: string, door: Door): Promise<void> {
    if (this.#deps.devices.get(device)?.door !== door) this.#deps.devices.learned(device, { door });
    const other = [...this.#executions.liveOf(device)].filter(
      ([, execution]) => execution.status === 'offered' && execution.door !== door,
    );
    await this.#executions.decideAll(other, ([{ id }]) => [id, device, { type: 'heard', door }]);
  }

  tellThrough(door: Door, tell: TellDevice): void {
    this.#tell.through(door, tell);
  }

  /** A device was seen in a run of its software: `boot` names it, `version` is what it says it runs. */
  async seen(device: string, door: Door, boot: string, version: string | null): Promise<void> {
    const event: ExecutionEvent = { type: 'seen', door, boot, version };
    const live = [...this.#executions.liveOf(device)];
    await Promise.all(live.map(([{ id }]) => this.#executions.decide(id, device, event)));
  }

  /** Campaigns that are carried out here or were. */
  campaigns(): Campaign[] {
    return this.#executions.campaigns();
  }

  /** Every execution of a campaign, by device. */
  executions(campaign: string): Promise<readonly (readonly [device: string, Execution])[]> {
    return this.#executions.all(campaign);
  }

  /** What people at the site may see and do. */
  get controls(): SiteControls {
    const { executions, gates, turns, stops } = this.#parts;
    const changed = async (): Promise<void> => {
      this.#pass.allChanged();
      await this.settled();
    };
    return new SiteControls({ executions, gates, turns, stops, changed });
  }

  readonly #heldBy = ({ opening, reason }: Closed): { until: number | null; reason: string } => {
    const until = opening && this.#time() + opening.opensAt - this.#deps.clock.now();
    return { until, reason };
  };

  get #executions(): Executions {
    return this.#parts.executions;
  }

  get #pass(): CampaignPass {
    return this.#parts.pass;
  }

  get #parts() {
    if (this.#opened === undefined) {
      throw new HoldfastError('STORE_UNAVAILABLE', 'the updates are not open yet');
    }
    return this.#opened;
  }

  readonly #deltasOf = (sha256: string) => this.#deps.firmware.deltasOf?.(sha256) ?? [];

  /** Steps of the wall clock move no deadline while the program runs. */
  readonly #time = (): number =>
    this.#startedAt + Math.round(this.#deps.clock.monotonic() - this.#startedMonotonic);

  async #firmwareLost(sha256: string): Promise<void> {
    try {
      await this.#pass.firmwareLost(sha256);
    } catch (err) {
      // Nothing is lost with it: those devices ask until the firmware is here again or their time is over.
      this.#deps.log.warn({ err, sha256 }, 'the loss of a firmware could not be recorded');
    }
    this.#passes.soon();
  }
}

const codes: Readonly<Record<ReportRefusal, 404 | 409 | 423>> = {
  not_found: 404,
  version: 409,
  over: 409,
  transition: 409,
  closed: 423,
};

const notFound = (job: string): JobAnswer => ({
  accepted: false,
  code: 404,
  message: `there is no job ${job} for this device`,
});

const statusOfJob = (status: JobStatus): ReportedStatus => {
  if (status === 'queued') return 'offered';
  return status === 'rejected' ? 'failed' : status;
};
