/**
 * A microcontroller that this process speaks for: the device is it, not the machine that its line ends in.
 *
 * What it says is acknowledged to it once it cannot be lost any more, on disk here or with the gateway, so a gateway that is away changes
 * nothing for it. What is for it, is sent until it has answered. Its comings and goings are reported.
 */
import { isDeepStrictEqual } from 'node:util';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
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
import { type AttachedRecord, type KnownHello, openAttachedRecord } from './attached-record.js';
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
  readonly settings: AttachedSettings;
  readonly commands: AttachedCommands;
  readonly #deps: AttachedDeps;
  readonly #options: AttachedOptions;
  readonly #record: AttachedRecord;
  readonly #driven: DrivenLine;
  readonly #driver: DriverLine;
  readonly #unanswered: Unanswered;
  /** For what it measures without saying which it is. */
  readonly #own = new Boot();
  readonly #listeners = new Set<(hello: KnownHello) => void>();
  #presence: { readonly isOnline: boolean; readonly reason: string } = {
    isOnline: false,
    reason: 'it has said no hello yet',
  };
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
    this.#record = opened.record;
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
          if (self().isOnline) await unanswered.command(command);
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

  /** Of its last hello, which may have been before this process; null when it never said any. */
  get hello(): KnownHello | null {
    return this.#record.data.hello;
  }

  get isOnline(): boolean {
    return this.#presence.isOnline;
  }

  /** What is reported of it by whoever speaks for it. */
  get facts(): JsonObject {
    const { isOnline, reason } = this.#presence;
    return isOnline ? { online: true } : { online: false, reason };
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

  /** Its run: as its last hello says it, told apart where that is the same after a flash. */
  get bootId(): string {
    const { hello, repeats } = this.#record.data;
    const boot = hello?.boot ?? 'unknown';
    return repeats === 0 ? boot : `${boot}~${String(repeats)}`;
  }

  /** Lends the line out; the microcontroller is offline meanwhile. */
  async takeOver<T>(work: LineWork<T>, options: TakeOverOptions): Promise<T> {
    await this.#record.update((known) => ({ ...known, wasLent: true }));
    return this.#driven.line.takeOver(work, options);
  }

  onHello(listener: (hello: KnownHello) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves with its hello when it is there and the hello fits. */
  async awaitHello(fits: (hello: KnownHello) => boolean, signal: AbortSignal): Promise<KnownHello> {
    signal.throwIfAborted();
    const { hello } = this;
    if (this.isOnline && hello !== null && fits(hello)) return hello;
    return new Promise((resolve, reject) => {
      const end = () => {
        stop();
        reject(signal.reason);
      };
      const stop = this.onHello((next) => {
        if (!fits(next)) return;
        stop();
        signal.removeEventListener('abort', end);
        resolve(next);
      });
      signal.addEventListener('abort', end, { once: true });
    });
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
    if (this.#presence.reason === reason) return false;
    this.#presence = { isOnline: false, reason };
    const next = `build its firmware with the id ${device}, or enrol this agent as ${id}`;
    this.#deps.log.warn({ device, says: id, next }, 'the microcontroller is another device');
    this.#deps.report();
    return false;
  }

  async #arrive({ model, version, boot, serial_no }: SerialHello): Promise<void> {
    const before = this.hello;
    const hello = { model, version, boot, ...(serial_no !== undefined && { serial_no }) };
    // Some say it again and again.
    const isNews = !this.isOnline || !isDeepStrictEqual(hello, before);
    if (!isNews) return;
    await this.#record.update((known) => {
      const isSame = known.hello?.boot === boot;
      const repeats = isSame ? known.repeats + (known.wasLent ? 1 : 0) : 0;
      return { ...known, hello, repeats, wasLent: false };
    });
    if (before?.boot !== boot) this.#unanswered.forget();
    this.#presence = { isOnline: true, reason: '' };
    const { log, report } = this.#deps;
    const { device, model: enrolledAs } = this.#options;
    if (before?.model !== model && model !== enrolledAs) {
      log.warn({ device, model, enrolledAs }, 'the microcontroller says that it is another model');
    }
    log.info({ device, version, boot }, 'the microcontroller is there');
    report();
    for (const listener of this.#listeners) listener(hello);
  }

  #leave(reason: string): void {
    this.#presence = { isOnline: false, reason };
    this.#unanswered.forget();
    this.#deps.log.info({ device: this.#options.device, reason }, 'the microcontroller is away');
    this.#deps.report();
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
    if (!this.isOnline) return;
    const { state, version } = this.settings.delta;
    this.#unanswered.delta(state, version).catch((error: unknown) => this.#complain(error));
  }

  #lineChanged(state: { readonly state: string; readonly reason?: string }): void {
    if (this.#isClosing) return;
    const { device, address } = this.#options;
    const line = { device, line: addressText(address), ...state };
    if (state.state === 'down') this.#deps.log.warn(line, 'the serial line is down');
    else this.#deps.log.info(line, 'the serial line');
    if (this.isOnline || state.reason === undefined) return;
    this.#presence = { isOnline: false, reason: state.reason };
    this.#deps.report();
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
