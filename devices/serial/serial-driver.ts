/**
 * What every driver of a serial line is to the gateway: the devices of one line, told as the same few events whatever is spoken on it, and
 * the few things that there are to tell a device. A driver knows its protocol and nothing else: the line is opened, found again, counted
 * and lent to others without it.
 *
 * `serial-driver-contract.ts` is what each must do; `serial-drivers.ts` knows them by name; `DRIVERS.md` is how a site brings its own.
 */
import type { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import type { TelemetryPoint } from '@holdfast/protos/mqtt/telemetry-payload';
import type * as v from 'valibot';
import type {
  DownFrame,
  FetchFrame,
  Hello,
  JobFrame,
  JobStatusFrame,
  ResponseFrame,
} from './frames.js';
import type { DriverPort } from './port/driver-port.js';

export interface SerialDriver<Options = unknown> {
  /** As the configuration names it. */
  readonly name: string;
  /** What a line says under `options`; undefined where it says nothing. */
  readonly options: v.GenericSchema<unknown, Options>;
  /**
   * Serves the devices of a line from when it comes up. Gives one `DriverLine` for each, in their order. CONFIGURATION_INVALID for more
   * devices than it can serve, or settings that it can't use.
   */
  attach(
    line: DriverPort,
    devices: readonly DriverDevice[],
    options: Options,
  ): readonly DriverLine[];
}

/** A device of a line, as its driver is told of it. */
export interface DriverDevice {
  readonly id: string;
  readonly handlers: SerialHandlers;
  /** What the configuration says of this device, for the driver to parse. */
  readonly settings: unknown;
}

/**
 * Errors of what is sent: SERIAL_LINE_DOWN, SERIAL_LINE_BUSY (or somebody else has the line), REQUEST_TOO_LARGE. That it was sent says nothing of its arrival: what has to
 * arrive is sent again until the device has answered it.
 */
export interface DriverLine {
  readonly isOnline: boolean;
  readonly counts: DriverLineCounts;
  /** After the line was closed: resolves when `offline` is told. Idempotent. */
  close(): Promise<void>;
  sendCommand(command: SerialCommand): Promise<void>;
  /** What is desired and not reported yet. */
  sendDelta(state: JsonObject, version: number): Promise<void>;
  /** Nothing is desired that is not reported: for drivers that keep what they were given until they can carry it out. */
  withdrawDelta?(): void;
  /** An update for the device; it asks for the image when it wants to. */
  sendJob(job: SerialJob): Promise<void>;
  /** Takes nothing more of the device until it says hello again. */
  refuse(error: HoldfastError): void;
}

/** Who is there. */
export type SerialHello = Pick<Hello, 'id' | 'model' | 'version' | 'boot' | 'serial_no'>;

/** Each handler of what a device says resolves after its commit, and only then is it acknowledged. */
export interface SerialHandlers {
  /** Whether this line may speak for the device that says hello; without it, for its own alone. */
  readonly accepts?: (device: string) => boolean;
  /** The device said hello: the line came up, or it restarted (another `boot`). A rejection refuses it: it stays offline. */
  readonly online: (hello: SerialHello) => Promise<void>;
  /** It was told so: what waits for it can be sent. */
  readonly welcomed: () => void;
  /** It was online, and its line or it is gone, or somebody else has the line. */
  readonly offline: (reason: string) => Promise<void>;
  readonly telemetry: (series: string, points: readonly TelemetryPoint[]) => Promise<void>;
  readonly reported: (state: JsonObject) => Promise<void>;
  readonly response: (response: SerialResponse) => Promise<void>;
  readonly jobStatus: (status: SerialJobStatus) => Promise<void>;
  /** Bytes of a job's image, at most `length`; fewer only at its end. */
  readonly image: (fetch: SerialFetch) => Promise<Uint8Array>;
  /** What the device is to be, whole. */
  readonly desired: () => Promise<{ state: JsonObject; version: number }>;
  /** Something of the gateway's failed, so the device got no answer and will ask again. */
  readonly failed: (error: unknown) => void;
  /** The gateway's clock, for the device's. */
  readonly time: () => { ts: number; trusted: boolean };
}

export type SerialResponse = Omit<ResponseFrame, 't'>;
export type SerialJob = Omit<JobFrame, 't'>;
export type SerialJobStatus = Omit<JobStatusFrame, 't'>;
export type SerialFetch = Omit<FetchFrame, 't'>;
export type SerialCommand = Omit<Extract<DownFrame, { t: 'command' }>, 't'>;

/** What was not taken of a device, and whatever else its driver counts. */
export interface DriverLineCounts {
  /** Frames that were none, too long, or not to be taken from this device. */
  readonly droppedFrames: number;
  /** Bytes that were noise. */
  readonly discardedBytes: number;
  /** By what they are called in lists: `timeouts`. */
  readonly others?: Readonly<Record<string, number>>;
}
