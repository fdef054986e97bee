/**
 * A microcontroller that this process speaks for: the device is it, not the machine that its line ends in.
 *
 * What it says is acknowledged to it once it cannot be lost any more, on disk here or with the gateway, so a gateway that is away changes
 * nothing for it. What is for it, is sent until it has answered. Its comings and goings are reported.
 */
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { TelemetryPoint } from '@holdfast/protos/mqtt/telemetry-payload';
import { type DrivenLine, driveLine } from '../../serial/driven-line.js';
import { addressText, type PortAddress } from '../../serial/port/port-settings.js';
import type { LineWork, SerialLineDeps, TakeOverOptions } from '../../serial/port/serial-line.js';
import type {
  DriverLine,
  SerialDriver,
  SerialHandlers,
  SerialHello,
} from '../../serial/serial-driver.js';
import { Unanswered } from '../../serial/unanswered.js';
import { Boot } from '../boot.js';
import type { GatewayTime } from '../gateway-time.js';
import type { Log } from '../log.js';
import type { DeviceSession } from '../session.js';
import type { TelemetryQueue } from '../telemetry-queue.js';
import type { QueuedPoint } from '../telemetry-spool.js';
import { AttachedCommands } from './attached-commands.js';
import { AttachedPresence } from './attached-presence.js';
import { type AttachedRecord, openAttachedRecord } from './attached-record.js';
import { AttachedSettings } from './attached-settings.js';

/** What a microcontroller needs of the device that it is. */
export interface AttachContext {
  readonly session: Pick<DeviceSession, 'publish'>;
  readonly telemetry: Pick<TelemetryQueue, 'keep'>;
  readonly time: Pick<GatewayTime, 'now' | 'isKnown'>;
  /** Something that is reported has changed. */
  readonly report: () => void;
  readonly log: Log;
}

export interface AttachedDeps extends AttachContext {
  readonly driver: SerialDriver;
  readonly line?: SerialLineDeps;
}

export interface AttachedOptions {
  readonly device: string;
  /** What it was enrolled as. */
  readonly model: string;
  readonly dataDir: string;
  readonly address: PortAddress;
  readonly baudRate: number;
  readonly driverOptions?: unknown;
  readonly retryDelayMs?: (attempt: number) => number;
  readonly resendAfterMs?: number;
}

/** A line that brings the same trouble with every frame fills no log. */
const complainEveryMs = 60_000;

export class AttachedDevice {
  readonly presence: AttachedPresence;
  readonly settings: AttachedSettings;
  readonly commands: AttachedCommands;
  readonly #deps: AttachedDeps;
  readonly #options: AttachedOptions;
  readonly #driven: DrivenLine;
  readonly #driver: DriverLine;
  readonly #unanswered: Unanswered;
  /** For what it measures without saying which it is. */
  readonly #own = new Boot();
  #isClosing = false;
  #complainedAt = Number.NEGATIVE_INFINITY;

  private constructor(
    deps: AttachedDeps,
    options: AttachedOptions,
    opened: { readonly record: AttachedRecord; readonly commands: AttachedCommands },
    unanswered: (device: () => AttachedDevice) => Unanswered,
  ) {
    this.#deps = deps;
    this.#options = options;
    this.presence = new AttachedPresence({
      record: opened.record,
      changed: deps.report,
      log: deps.log,
    });
    this.commands = opened.commands;
    this.settings = new AttachedSettings({ record: opened.record, changed: () => this.#tell() });
    this.#unanswered = unanswered(() => this);
    const { address, baudRate, driverOptions, device, retryDelayMs } = options;
    this.#driven = driveLine(
      {
        ...deps.line,
        driver: deps.driver,
        devices: [{ id: device, handlers: this.#handlers(), settings: undefined }],
        onState: ({ state }) => this.#lineChanged(state),
      },
      {
        name: device,
        address,
        settings: { baudRate },
        ...(driverOptions !== undefined && { driverOptions }),
        ...(retryDelayMs !== undefined && { retryDelayMs }),
      },
    );
    const [driver] = this.#driven.devices;
    if (driver === undefined) throw new Error('a driver gave no line for its device');
    this.#driver = driver;
  }

  static async open(deps: AttachedDeps, options: AttachedOptions): Promise<AttachedDevice> {
    const { session, time, log } = deps;
    const { device, dataDir, resendAfterMs = 5_000 } = options;
    const isOver = (at: number) => time.isKnown && at <= time.now();
    let self: () => AttachedDevice;
    const unanswered = new Unanswered(
      {
        sendCommand: (command) => self().#driver.sendCommand(command),
        sendDelta: (state, version) => self().#driver.sendDelta(state, version),
        withdrawDelta: () => self().#driver.withdrawDelta?.(),
        // It is flashed, and pulls no image.
        offerAgain: async () => false,
        isOver,
        failed: (error) => self().#complain(error),
      },
      { resendAfterMs },
    );
    const commands = await AttachedCommands.open(
      {
        session,
        log,
        isOver,
        send: async (command) => {
          if (self().presence.isOnline) await unanswered.command(command);
        },
        answered: (id) => unanswered.answered(id),
      },
      { device, dataDir },
    );
    const record = await openAttachedRecord(dataDir, log);
    return new AttachedDevice(deps, options, { record, commands }, (device) => {
      self = device;
      return unanswered;
    });
  }

  /** Begins to keep the line open; one that is away is waited for. */
  open(): void {
    this.#driven.open();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#driven.close();
    this.#unanswered.forget();
  }

  /** Lends the line out; the microcontroller is offline meanwhile. */
  async takeOver<T>(work: LineWork<T>, options: TakeOverOptions): Promise<T> {
    await this.presence.lend();
    return this.#driven.line.takeOver(work, options);
  }

  #handlers(): SerialHandlers {
    const { time } = this.#deps;
    return {
      accepts: (id) => this.#isIt(id),
      online: (hello) => this.#arrive(hello),
      welcomed: () => void this.#sendWhatWaits().catch((error) => this.#complain(error)),
      offline: async (reason) => this.#leave(reason),
      telemetry: (series, points) => this.#keep(series, points),
      reported: async (state) => {
        await this.settings.take(state);
        this.#deps.report();
        this.#tell();
      },
      response: (response) => this.commands.take(response),
      jobStatus: noJob,
      image: noJob,
      desired: async () => this.settings.desired,
      failed: (error) => this.#complain(error),
      time: () => ({ ts: time.now(), trusted: time.isKnown }),
    };
  }

  /** Its line speaks for no other device. */
  #isIt(id: string): boolean {
    const { device } = this.#options;
    if (id === device) return true;
    const reason = `what is on the line says that it is ${id}, and this agent is ${device}`;
    if (!this.presence.leave(reason)) return false;
    const next = `build its firmware with the id ${device}, or enrol this agent as ${id}`;
    this.#deps.log.warn({ device, says: id, next }, 'the microcontroller is another device');
    return false;
  }

  async #arrive(hello: SerialHello): Promise<void> {
    const before = this.presence.hello;
    if (!(await this.presence.arrive(hello))) return;
    const { model, version, boot } = hello;
    if (before?.boot !== boot) this.#unanswered.forget();
    const { log } = this.#deps;
    const { device, model: enrolledAs } = this.#options;
    log.info({ device, version, boot }, 'the microcontroller is there');
    if (before?.model === model || model === enrolledAs) return;
    log.warn({ device, model, enrolledAs }, 'the microcontroller says that it is another model');
  }

  #leave(reason: string): void {
    this.presence.leave(reason);
    this.#unanswered.forget();
    this.#deps.log.info({ device: this.#options.device, reason }, 'the microcontroller is away');
  }

  async #keep(series: string, points: readonly TelemetryPoint[]): Promise<void> {
    const { telemetry, time } = this.#deps;
    const now = time.isKnown ? { ts: time.now() } : {};
    await telemetry.keep(
      points.map(({ value, ts, boot, seq }): QueuedPoint => {
        const position = boot === undefined || seq === undefined ? this.#own.next() : { boot, seq };
        // It may be hours until the gateway sees it.
        return { series, value, ...now, ...(ts !== undefined && { ts }), ...position };
      }),
    );
  }

  async #sendWhatWaits(): Promise<void> {
    await this.#unanswered.again();
    await this.commands.welcomed();
    this.#tell();
  }

  /** What is desired and not reported, if anything. */
  #tell(): void {
    if (!this.presence.isOnline) return;
    const { state, version } = this.settings.delta;
    this.#unanswered.delta(state, version).catch((error: unknown) => this.#complain(error));
  }

  #lineChanged(state: { readonly state: string; readonly reason?: string }): void {
    if (this.#isClosing) return;
    const { device, address } = this.#options;
    const line = { device, line: addressText(address), ...state };
    if (state.state === 'down') this.#deps.log.warn(line, 'the serial line is down');
    else this.#deps.log.info(line, 'the serial line');
    if (!this.presence.isOnline) this.presence.leave(state.reason ?? 'it has said no hello yet');
  }

  #complain(error: unknown): void {
    const now = performance.now();
    if (now - this.#complainedAt < complainEveryMs) return;
    this.#complainedAt = now;
    this.#deps.log.warn(
      { device: this.#options.device, error: messageOf(error) },
      'something could not be taken from the microcontroller, or not be sent to it; it is tried again',
    );
  }
}

const noJob = async (): Promise<never> => {
  throw new HoldfastError(
    'RESOURCE_NOT_FOUND',
    'This device is flashed, and has no jobs of its own',
  );
};
