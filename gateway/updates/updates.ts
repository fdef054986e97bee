/**
 * Carries campaigns out, by the plan alone: the WAN is not needed for anything here.
 *
 * Events of devices are decided on as they come (`Executions`). All that follows from them (whose turn it is, what ran out, which
 * campaign is settled) is found in passes over everything that is not over; a pass is due after each change and when the earliest
 * time comes. So nothing has to be remembered across a crash but the rows.
 */
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import type {
  JobExecutionPayload,
  JobStatus,
  JobUpdateRequest,
} from '@holdfast/protos/mqtt/job-payload';
import { buildTopic } from '@holdfast/protos/mqtt/topics';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { OutboundMessage } from '../broker/broker.js';
import type { Device } from '../devices/device.js';
import type { Door, JobAnswer, StatusSent } from '../devices/device-events.js';
import type { DeviceChange } from '../devices/devices.js';
import type { PlanChange, PlanState, PlanView } from '../link/plan-view.js';
import type { Performer } from '../store/outbox.js';
import type { SiteStore } from '../store/site-store.js';
import {
  type Campaign,
  chooseTurns,
  isTargeted,
  type LiveExecution,
  nextWakeAt,
} from './campaign.js';
import { isUnderWay } from './execution.js';
import { notifyKind } from './execution-rows.js';
import type { Execution, ExecutionEvent, ReportedStatus } from './execution-state.js';
import { type Executions, openExecutions } from './executions.js';
import { olderStatus } from './older-status.js';
import { jobOf, olderCommandOf } from './told.js';

export interface UpdatesDeps {
  readonly site: SiteStore;
  readonly outbox: { register(kind: string, performer: Performer): void };
  readonly plan: {
    current(): PlanView | undefined;
    state(): PlanState;
    onChange(listener: (change: PlanChange) => void): () => void;
  };
  readonly devices: {
    get(device: string): Device | undefined;
    all(): Device[];
    onChange(listener: (change: DeviceChange) => void): () => void;
  };
  readonly firmware: {
    /** Whether it is here and verified. */
    isHeld(sha256: string): boolean;
    /** What is needed from now on: fetched if it is not here, and not evicted. */
    need(firmware: readonly FirmwareBody[]): void;
    /** Told when one came or was lost. Returns how to stop it. */
    onChange(listener: (sha256: string) => void): () => void;
  };
  /** Resolves after every copy owed is committed. */
  readonly publish: (message: OutboundMessage) => Promise<void>;
  /** Offers an update over a serial line; without it devices on lines wait. */
  readonly offerOnLine?: (device: string, job: JobExecutionPayload) => Promise<void>;
  readonly isFenced: () => boolean;
  readonly clock: Clock;
  readonly log: StoreLog;
}

export interface UpdatesOptions {
  /** `https://host:port` of the gateway, as devices of the older set are told it. */
  readonly httpsAddress: () => string;
  /** How long changes are gathered before a pass, ms. */
  readonly passAfterMs?: number;
}

/** After a pass that could not be committed (the disk is full). */
const retryPassMs = 1_000;
/** Timers cannot take longer delays. */
const longestDelayMs = 2 ** 31 - 1;

export class Updates {
  readonly #deps: UpdatesDeps;
  readonly #options: Required<UpdatesOptions>;
  readonly #startedAt: number;
  readonly #startedMonotonic: number;
  readonly #stops: (() => void)[] = [];
  #executions: Executions | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #pass: Promise<void> | undefined;
  #isPassDue = false;
  #isClosed = false;
  #isPlanNew = true;
  /** Devices that may have come to be targeted. */
  readonly #candidates = new Set<string>();

  constructor(deps: UpdatesDeps, options: UpdatesOptions) {
    this.#deps = deps;
    this.#options = { passAfterMs: 20, ...options };
    this.#startedAt = deps.clock.now();
    this.#startedMonotonic = deps.clock.monotonic();
    deps.outbox.register(notifyKind, (body) => this.#notify(body));
  }

  /** Takes up what is on disk; what ran out while the gateway was away gets its time again. */
  async open(): Promise<void> {
    const { site, plan, devices, firmware } = this.#deps;
    const executions = await openExecutions({
      site,
      time: this.#time,
      changed: () => this.#passSoon(),
    });
    this.#executions = executions;
    await Promise.all(
      [...executions.live()].map(([campaign, device]) =>
        executions.decide(campaign.id, device, { type: 'resumed' }),
      ),
    );
    for (const { device } of devices.all()) this.#candidates.add(device);
    this.#stops.push(
      plan.onChange(() => {
        this.#isPlanNew = true;
        for (const { device } of devices.all()) this.#candidates.add(device);
        this.#passSoon();
      }),
      devices.onChange(({ device }) => {
        this.#candidates.add(device.device);
        this.#passSoon();
      }),
      firmware.onChange((sha256) => {
        if (firmware.isHeld(sha256)) this.#passSoon();
        else void this.#firmwareLost(sha256);
      }),
    );
    this.#passSoon();
  }

  /** Waits for what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const stop of this.#stops.splice(0)) stop();
    clearTimeout(this.#timer);
    await this.#pass;
    await this.#executions?.idle();
  }

  /** Resolves when everything that follows from what happened so far is committed. */
  async settled(): Promise<void> {
    this.#isPassDue = true;
    await this.#run();
  }

  /** A device asks for a job, or for its next one through this door. */
  async asked(device: string, job: string | null, door: Door = 'native'): Promise<JobAnswer> {
    if (job === null) return { accepted: true, execution: this.#nextOf(device, door) };
    const campaign = this.#opened.campaign(job);
    const execution = await this.#opened.get(job, device);
    return campaign === undefined || execution === undefined
      ? notFound(job)
      : { accepted: true, execution: jobOf(campaign, execution) };
  }

  /** A device reports on the job topics, or in the same words over a serial line. */
  async updated(
    device: string,
    job: string,
    update: JobUpdateRequest,
    door: Door = 'native',
  ): Promise<JobAnswer> {
    const { status, progress, error, boot_id, version, expected_version } = update;
    const event: ExecutionEvent = {
      type: 'reported',
      door,
      status: statusOfJob(status),
      ...(progress === undefined ? {} : { progress }),
      ...(error === undefined ? {} : { error }),
      ...(status === 'rejected' && error === undefined ? { error: 'the device refuses it' } : {}),
      ...(boot_id === undefined ? {} : { boot: boot_id }),
      ...(version === undefined ? {} : { version }),
    };
    const decision = await this.#opened.decide(job, device, event, (state) =>
      expected_version === undefined || expected_version === state.version
        ? undefined
        : `it has version ${state.version}`,
    );
    const campaign = this.#opened.campaign(job);
    if (decision === undefined || campaign === undefined) return notFound(job);
    return decision.refused === undefined
      ? { accepted: true, execution: jobOf(campaign, decision.state) }
      : { accepted: false, code: 409, message: decision.refused };
  }

  /** A device reports in the older set's words. */
  async reported(event: StatusSent): Promise<void> {
    const status = olderStatus(event.status);
    if (status === undefined) {
      const { device, campaign } = event;
      this.#deps.log.warn({ device, campaign, status: event.status }, 'an unknown update status');
      return;
    }
    await this.#opened.decide(event.campaign, event.device, {
      type: 'reported',
      door: 'devices',
      status,
      boot: event.session,
      ...(event.progress === undefined ? {} : { progress: event.progress }),
      ...(event.error === undefined ? {} : { error: event.error }),
    });
  }

  /** A device was seen in a run of its software: `boot` names it, `version` is what it says it runs. */
  async seen(device: string, door: Door, boot: string, version: string | null): Promise<void> {
    const event: ExecutionEvent = { type: 'seen', door, boot, version };
    const live = [...this.#opened.liveOf(device)];
    await Promise.all(live.map(([{ id }]) => this.#opened.decide(id, device, event)));
  }

  /** Campaigns that are carried out here or were. */
  campaigns(): Campaign[] {
    return this.#opened.campaigns();
  }

  /** Every execution of a campaign, by device. */
  executions(campaign: string): Promise<readonly (readonly [device: string, Execution])[]> {
    return this.#opened.all(campaign);
  }

  get #opened(): Executions {
    if (this.#executions === undefined) {
      throw new HoldfastError('STORE_UNAVAILABLE', 'the updates are not open yet');
    }
    return this.#executions;
  }

  /** Steps of the wall clock move no deadline while the program runs. */
  readonly #time = (): number =>
    this.#startedAt + Math.round(this.#deps.clock.monotonic() - this.#startedMonotonic);

  #nextOf(device: string, door: Door): JobExecutionPayload | null {
    for (const [campaign, execution] of this.#opened.liveOf(device)) {
      const { status } = execution;
      if (execution.door === door && isUnderWay(status)) return jobOf(campaign, execution);
    }
    return null;
  }

  /** Tells the state as it is now, whatever it was when this became due: so it may be performed twice, or late. */
  async #notify(body: unknown): Promise<void> {
    // Only `decisionWrite` makes it.
    const { campaign: id, device } = body as { campaign: string; device: string };
    const campaign = this.#opened.campaign(id);
    const execution = await this.#opened.getDecided(id, device);
    if (campaign === undefined || execution === undefined) return;
    if (execution.door === 'devices') {
      if (execution.status !== 'offered') return;
      await this.#publish(
        buildTopic({ kind: 'older_command', device }),
        olderCommandOf(campaign, this.#options.httpsAddress()),
      );
    } else if (execution.door === 'serial') {
      if (execution.status !== 'offered') return;
      await this.#deps.offerOnLine?.(device, jobOf(campaign, execution));
    } else {
      const next = this.#nextOf(device, 'native');
      await this.#publish(buildTopic({ kind: 'jobs_notify', device }), { execution: next });
    }
  }

  #publish(topic: string, payload: object): Promise<void> {
    return this.#deps.publish({ topic, payload: Buffer.from(JSON.stringify(payload)), qos: 1 });
  }

  async #firmwareLost(sha256: string): Promise<void> {
    const error = 'the firmware is not whole at the gateway any more';
    const lost = [...this.#opened.live()].filter(([{ firmware }]) => firmware.sha256 === sha256);
    try {
      await this.#each(lost, ([campaign, device]) => [
        campaign.id,
        device,
        { type: 'site_failed', error },
      ]);
    } catch (err) {
      // Nothing is lost with it: those devices ask until the firmware is here again or their time is over.
      this.#deps.log.warn({ err, sha256 }, 'the loss of a firmware could not be recorded');
    }
    this.#passSoon();
  }

  #passSoon(): void {
    this.#isPassDue = true;
    this.#wakeAt(this.#time() + this.#options.passAfterMs);
  }

  #wakeAt(at: number): void {
    if (this.#isClosed || at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    const delay = Math.min(Math.max(at - this.#time(), 0), longestDelayMs);
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.#isPassDue = true;
      void this.#run();
    }, delay);
  }

  /** Passes run one after the other until none is due. */
  #run(): Promise<void> {
    this.#pass ??= this.#passes().finally(() => {
      this.#pass = undefined;
    });
    return this.#pass;
  }

  async #passes(): Promise<void> {
    while (this.#isPassDue && !this.#isClosed) {
      this.#isPassDue = false;
      try {
        await this.#passOnce();
      } catch (error) {
        this.#deps.log.warn({ err: error }, `updates cannot go on now: ${messageOf(error)}`);
        this.#wakeAt(this.#time() + retryPassMs);
        return;
      }
    }
    const at = nextWakeAt(
      [...this.#opened.live()].map(([, , execution]) => execution),
      this.#time(),
    );
    if (at !== undefined) this.#wakeAt(at);
  }

  async #passOnce(): Promise<void> {
    if (this.#isPlanNew) await this.#takePlan();
    await this.#targetCandidates();
    const now = this.#time();
    const overdue = [...this.#opened.live()].filter(
      ([, , { deadline }]) => deadline !== null && deadline <= now,
    );
    await this.#each(overdue, ([{ id }, device]) => [id, device, { type: 'ticked' }]);
    await this.#cancelEnded(({ status }) => status === 'queued');
    const turns = chooseTurns(this.#live(), this.#deps.firmware.isHeld, now);
    await this.#each(turns.supersede, (turn) => [
      turn.campaign,
      turn.device,
      { type: 'supersede' },
    ]);
    // A plan that has run out starts nothing new, and a fenced gateway has no say; what began goes on.
    if (this.#deps.plan.state() !== 'expired' && !this.#deps.isFenced()) {
      await this.#each(turns.offer, (turn) => [
        turn.campaign,
        turn.device,
        this.#offer(turn.device),
      ]);
    }
    await this.#opened.settle();
  }

  #live(): LiveExecution[] {
    return [...this.#opened.live()].flatMap(([campaign, id, execution]) => {
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

  /** Decisions are committed together: each is an own write of the same group. */
  async #each<T>(
    items: readonly T[],
    decisionOf: (item: T) => readonly [campaign: string, device: string, event: ExecutionEvent],
  ): Promise<void> {
    await Promise.all(items.map((item) => this.#opened.decide(...decisionOf(item))));
  }

  async #takePlan(): Promise<void> {
    const plan = this.#deps.plan.current();
    if (plan === undefined) return;
    this.#isPlanNew = false;
    try {
      for (const { id, body } of plan.documents.campaign.values()) {
        const firmware = plan.documents.firmware.get(body.firmware);
        if (firmware === undefined) {
          this.#deps.log.error({ campaign: id }, 'the plan has a campaign without its firmware');
          continue;
        }
        await this.#opened.take({ id, body, firmware: firmware.body });
      }
      await this.#cancelEnded(() => true);
    } catch (error) {
      this.#isPlanNew = true;
      throw error;
    }
    this.#deps.firmware.need(this.#running(plan).map(({ firmware }) => firmware));
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
    const ended = [...this.#opened.live()].filter(
      ([{ id }, device, execution]) => (concerns(execution) && isEnded(id)) || isGone(device),
    );
    await this.#each(ended, ([{ id }, device]) => [id, device, { type: 'cancel' }]);
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
        const targeted = devices.filter((device) => isTargeted(campaign, device));
        await this.#opened.target(
          campaign.id,
          targeted.map(({ device }) => device),
        );
      }
    } catch (error) {
      for (const device of candidates) this.#candidates.add(device);
      throw error;
    }
  }

  #running(plan: PlanView): Campaign[] {
    return this.#opened
      .campaigns()
      .filter(({ id }) => plan.documents.campaign.get(id)?.body.state === 'running');
  }
}

const notFound = (job: string): JobAnswer => ({
  accepted: false,
  code: 404,
  message: `there is no job ${job} for this device`,
});

const statusOfJob = (status: JobStatus): ReportedStatus => {
  if (status === 'queued') return 'offered';
  return status === 'rejected' ? 'failed' : status;
};
