/** One device of a line: what it says as device events, and what there is for it as what its driver sends. No rules of its own. */
import type {
  DriverLine,
  SerialCommand,
  SerialFetch,
  SerialHandlers,
  SerialHello,
  SerialJobStatus,
} from '@holdfast/devices/serial/serial-driver';
import { Unanswered } from '@holdfast/devices/serial/unanswered';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { CommandPayload } from '@holdfast/protos/mqtt/command-payload';
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import { parseUpdateDocument } from '@holdfast/protos/mqtt/update-document';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { DispatchDeviceEvent } from '../../devices/device-events.js';
import type { ShadowChange, ShadowView } from '../../shadows/shadow-change.js';
import type { Shadows } from '../../shadows/shadows.js';
import type { AccessRefusal } from '../../trust/access-log.js';
import { authorise } from '../../trust/authorise.js';
import type { LineFlashing } from './flash/line-flashing.js';
import { type ImageSource, isOpenJob, readImage, refusalOf, updateOf } from './job-image.js';

export interface DeviceLineDeps {
  readonly dispatch: DispatchDeviceEvent;
  readonly shadows: Pick<Shadows, 'get'>;
  readonly firmware: ImageSource;
  /** Throws GATEWAY_FENCED: then nothing of a device is taken. */
  readonly fence: { check(): void };
  /** Throws when the device is out of service. */
  readonly lifecycles: { check(device: string): void };
  readonly onRefused?: (refusal: AccessRefusal) => void;
  /** Carries out the updates of the devices that this gateway flashes. */
  readonly flashing?: Pick<LineFlashing, 'told' | 'hello' | 'partOf'> | undefined;
  readonly clock: Clock;
  readonly log: StoreLog;
}

export interface DeviceLineOptions {
  readonly device: string;
  /** Where its line is, as the configuration names it. */
  readonly port: string;
  /** Through which it is a device of the site. */
  readonly door: 'serial' | 'modbus';
  /** How long an answer to a command may take before it is sent again. */
  readonly resendAfterMs?: number;
}

/** A line that brings the same trouble with every frame fills no log. */
const complainEveryMs = 60_000;

export class DeviceLine {
  /** What its driver tells. */
  readonly handlers: SerialHandlers;
  readonly #deps: DeviceLineDeps;
  readonly #device: string;
  readonly #port: string;
  readonly #door: DeviceLineOptions['door'];
  readonly #unanswered: Unanswered;
  #serial: DriverLine | undefined;
  /** The run of the device that is connected: the boot id of its hello. */
  #boot: string | undefined;
  #version: string | undefined;
  #complainedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: DeviceLineDeps, options: DeviceLineOptions) {
    const { device, port, door, resendAfterMs = 5_000 } = options;
    this.#deps = deps;
    this.#device = device;
    this.#port = port;
    this.#door = door;
    this.handlers = this.#handlers();
    this.#unanswered = new Unanswered(
      {
        sendCommand: (command) => this.#sendCommand(command),
        offerAgain: () => this.#offerAgain(),
        sendDelta: (state, version) => this.#driver.sendDelta(state, version),
        withdrawDelta: () => this.#serial?.withdrawDelta?.(),
        isOver: (at) => deps.clock.trusted && at <= deps.clock.now(),
        failed: (error) => this.#complain(error),
      },
      { resendAfterMs },
    );
  }

  /** By whom it is spoken to; nothing is said before. */
  attach(serial: DriverLine): void {
    this.#serial = serial;
  }

  /** After its line was closed. Idempotent. */
  close(): void {
    this.#unanswered.forget();
  }

  /** Whether it arrives is for the answer to say; one that is away gets it after its next hello. */
  async command(command: string, { type, payload, expires_at }: CommandPayload): Promise<void> {
    if (!this.#isOnline) return;
    const optional = payload === undefined ? {} : { payload };
    await this.#whileUp(
      this.#unanswered.command({ command_id: command, type, ...optional, expires_at }),
    );
  }

  /** Tells the device of an update. */
  async offer(job: JobExecutionPayload): Promise<void> {
    if (this.#deps.flashing?.told(this.#device) === true) return;
    if (!this.#isOnline || !isOpenJob(job)) return;
    const document = parseUpdateDocument(job.document);
    if (!document.ok) return;
    const { version, size_bytes: size, sha256 } = document.value;
    if (job.status === 'offered') this.#unanswered.offered();
    await this.#whileUp(this.#driver.sendJob({ job_id: job.job_id, version, size, sha256 }));
  }

  /** What is desired and not reported, if anything. */
  async tell({ delta, version }: ShadowChange | ShadowView): Promise<void> {
    if (!this.#isOnline) return;
    await this.#whileUp(this.#unanswered.delta(delta?.state, version));
  }

  /** This gateway does not own its site any more, or the device is out of service. */
  refuse(error: HoldfastError): void {
    this.#serial?.refuse(error);
  }

  get #isOnline(): boolean {
    return this.#serial?.isOnline ?? false;
  }

  get #driver(): DriverLine {
    if (this.#serial !== undefined) return this.#serial;
    throw new HoldfastError('SERIAL_LINE_DOWN', 'The line has no driver yet');
  }

  #handlers(): SerialHandlers {
    const { dispatch, shadows, clock } = this.#deps;
    const device = this.#device;
    return {
      accepts: (id) => this.#mayBe(id),
      online: (hello) => this.#arrive(hello),
      welcomed: () => void this.#sendWhatWaits().catch((error) => this.#complain(error)),
      offline: () => this.#leave(),
      telemetry: async (series, points) => {
        this.#check();
        await dispatch({ type: 'telemetry', device, series, points });
      },
      reported: async (state) => {
        this.#check();
        await dispatch({ type: 'state_reported', device, state });
      },
      response: async ({ command_id: command, ...response }) => {
        this.#check();
        await dispatch({ type: 'command_answered', device, command, response });
        this.#unanswered.answered(command);
      },
      jobStatus: (status) => this.#takeJobStatus(status),
      image: (fetch) => this.#image(fetch),
      desired: async () => {
        const view = await shadows.get({ device, name: classicShadow });
        return { state: view?.state.desired ?? {}, version: view?.version ?? 0 };
      },
      failed: (error) => this.#complain(error),
      time: () => ({ ts: clock.now(), trusted: clock.trusted }),
    };
  }

  /** Whether this line may speak for a device. */
  #mayBe(id: string): boolean {
    const who = { kind: 'line', device: this.#device, path: this.#port } as const;
    const decision = authorise(who, 'speak', id);
    if (!decision.allowed) {
      this.#deps.onRefused?.({ who, verb: 'speak', what: id, reason: decision.reason });
    }
    return decision.allowed;
  }

  /** Before anything is taken of the device. */
  #check(): void {
    this.#deps.fence.check();
    this.#deps.lifecycles.check(this.#device);
  }

  /** What this gateway flashes has no say in its update. */
  #checkPulls(): void {
    if (this.#deps.flashing?.partOf(this.#device) === undefined) return;
    throw new HoldfastError('RESOURCE_CONFLICT', 'The gateway flashes this device');
  }

  async #arrive({ boot, model, version, serial_no }: SerialHello): Promise<void> {
    const { dispatch } = this.#deps;
    this.#check();
    const before = this.#boot;
    this.#boot = boot;
    this.#version = version;
    // The services send what is open to a device that is new to them.
    if (before !== boot) this.#unanswered.forget();
    const device = this.#device;
    await dispatch({
      type: 'session',
      device,
      connected: true,
      session: boot,
      door: this.#door,
      model,
      ...(serial_no === undefined ? {} : { serialNo: serial_no }),
      // A unit of a Modbus says nothing of what it runs.
      ...(version === '' ? {} : { firmwareVersion: version }),
    });
    if (before !== undefined && before !== boot) {
      await dispatch({ type: 'session', device, connected: false, session: before });
    }
    await this.#deps.flashing?.hello(device, version);
  }

  async #leave(): Promise<void> {
    this.#unanswered.forget();
    const session = this.#boot;
    this.#boot = undefined;
    if (session === undefined) return;
    const device = this.#device;
    await this.#deps.dispatch({ type: 'session', device, connected: false, session });
  }

  /** Commands come by themselves when a device connects; what is desired, and an update that is open, may have been missed. */
  async #sendWhatWaits(): Promise<void> {
    const device = this.#device;
    const { dispatch, shadows } = this.#deps;
    await this.#unanswered.again();
    const view = await shadows.get({ device, name: classicShadow });
    if (view !== undefined) await this.tell(view);
    const next = await dispatch({ type: 'job_asked', device, job: null, door: this.#door });
    if (next.accepted && next.execution !== null) await this.offer(next.execution);
  }

  async #offerAgain(): Promise<boolean> {
    const device = this.#device;
    const next = await this.#deps.dispatch({
      type: 'job_asked',
      device,
      job: null,
      door: this.#door,
    });
    if (!next.accepted || next.execution?.status !== 'offered') return false;
    await this.offer(next.execution);
    return true;
  }

  async #takeJobStatus({ job_id: job, ...update }: SerialJobStatus): Promise<void> {
    const { dispatch } = this.#deps;
    this.#check();
    this.#checkPulls();
    this.#unanswered.takenUp();
    const run = {
      ...(this.#boot === undefined ? {} : { boot_id: this.#boot }),
      ...(this.#version === undefined ? {} : { version: this.#version }),
    };
    const answer = await dispatch({
      type: 'job_updated',
      device: this.#device,
      job,
      update: { ...update, ...run },
      door: this.#door,
    });
    if (!answer.accepted) throw refusalOf(answer);
  }

  async #image({ job_id: job, offset, length }: SerialFetch): Promise<Uint8Array> {
    this.#check();
    this.#checkPulls();
    const { dispatch, firmware } = this.#deps;
    const device = this.#device;
    const answer = await dispatch({ type: 'job_asked', device, job, door: this.#door });
    return readImage(firmware, updateOf(answer), { offset, length });
  }

  async #sendCommand(command: SerialCommand): Promise<void> {
    try {
      await this.#driver.sendCommand(command);
    } catch (error) {
      if (!isHoldfastError(error, 'REQUEST_TOO_LARGE')) throw error;
      // The device will never be able to say so itself.
      const { command_id } = command;
      await this.#deps.dispatch({
        type: 'command_answered',
        device: this.#device,
        command: command_id,
        response: { status: 'rejected', error: error.message },
      });
      this.#unanswered.answered(command_id);
    }
  }

  /** What a line that just went down did not take is made good after the next hello. */
  async #whileUp(sent: Promise<void>): Promise<void> {
    try {
      await sent;
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error: unknown): void {
    const now = this.#deps.clock.monotonic();
    if (now - this.#complainedAt < complainEveryMs) return;
    this.#complainedAt = now;
    this.#deps.log.warn(
      { err: error, device: this.#device, path: this.#port },
      'something could not be taken from a serial device, or not be sent to it; it is tried again',
    );
  }
}
