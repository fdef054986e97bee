/**
 * What devices say, whatever door they say it through: the one vocabulary that doors translate into and services understand.
 *
 * A door that dispatches an event awaits it before it acknowledges the message that brought it: the answer resolves after the
 * commit. Times are epoch ms by the gateway's clock.
 */
import type { Door } from '@holdfast/protos/link/door';
import type { CommandResponsePayload } from '@holdfast/protos/mqtt/command-payload';
import type { JobExecutionPayload, JobUpdateRequest } from '@holdfast/protos/mqtt/job-payload';
import type { JsonObject, JsonValue } from '@holdfast/protos/mqtt/json-payload';
import type { TelemetryPoint } from '@holdfast/protos/mqtt/telemetry-payload';

export type { Door } from '@holdfast/protos/link/door';

interface Of {
  readonly device: string;
}

/** A connection came or went. On a serial line: its hello, with everything it says of itself. */
export interface SessionChanged extends Of {
  readonly type: 'session';
  readonly connected: boolean;
  /** New with every connection; on a serial line the boot id of the hello. */
  readonly session: string;
  readonly door?: Door;
  readonly model?: string;
  readonly serialNo?: string;
  readonly firmwareVersion?: string;
}

export interface TelemetrySent extends Of {
  readonly type: 'telemetry';
  readonly series: string;
  readonly points: readonly TelemetryPoint[];
}

/** A whole shadow request is the shadow door's to read; this is the serial line's short form: its reported state, merged. */
export interface StateReported extends Of {
  readonly type: 'state_reported';
  readonly state: JsonObject;
}

/** `job` is `null` when the device asks for the next one, whatever it is. */
export interface JobAsked extends Of {
  readonly type: 'job_asked';
  readonly job: string | null;
  /** Absent: the native topics. */
  readonly door?: Door;
}

export interface JobUpdated extends Of {
  readonly type: 'job_updated';
  readonly job: string;
  readonly update: JobUpdateRequest;
  /** Absent: the native topics. */
  readonly door?: Door;
}

/** Sent by devices of the older set. */
export interface HeartbeatSent extends Of {
  readonly type: 'heartbeat';
  readonly session: string;
  readonly serialNo: string;
  readonly model: string;
  readonly firmwareVersion: string;
}

/** Progress of an update in the words of the older set. */
export interface StatusSent extends Of {
  readonly type: 'status';
  readonly session: string;
  readonly campaign: string;
  readonly status: string;
  readonly progress?: number;
  readonly error?: string;
}

/** A setting was changed on the device itself. */
export interface SettingChanged extends Of {
  readonly type: 'setting_changed';
  readonly setting: string;
  readonly oldValue?: JsonValue;
  readonly newValue?: JsonValue;
}

export interface CommandAnswered extends Of {
  readonly type: 'command_answered';
  readonly command: string;
  readonly response: CommandResponsePayload;
}

export type DeviceEvent =
  | SessionChanged
  | TelemetrySent
  | StateReported
  | JobAsked
  | JobUpdated
  | HeartbeatSent
  | StatusSent
  | SettingChanged
  | CommandAnswered;

/** What the device is answered, where its door has an answer. Refusals are expected outcomes, not errors. */
export interface DeviceEventAnswers {
  readonly session: undefined;
  readonly telemetry: undefined;
  readonly state_reported: undefined;
  readonly job_asked: JobAnswer;
  readonly job_updated: JobAnswer;
  readonly heartbeat: undefined;
  readonly status: undefined;
  readonly setting_changed: undefined;
  readonly command_answered: undefined;
}

export type JobAnswer =
  | { readonly accepted: true; readonly execution: JobExecutionPayload | null }
  /** 423: it may not begin now; the same again later is answered anew. */
  | { readonly accepted: false; readonly code: 404 | 409 | 423; readonly message: string };

/** Takes an event to the services it concerns. Rejects with a retryable error when it cannot be committed now; throws for telemetry that is none. */
export type DispatchDeviceEvent = <E extends DeviceEvent>(
  event: E,
) => Promise<DeviceEventAnswers[E['type']]>;
