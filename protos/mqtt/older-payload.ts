import * as v from 'valibot';
import { type JsonLimits, type JsonValue, type Parsed, parsePayload } from './json-payload.js';

/**
 * The payloads of the older set, `devices/{id}/…`. Their devices are in the field and stay as they are, so what they
 * send is read generously: `timestamp` as epoch seconds, epoch ms or an ISO 8601 text, given to us as epoch ms.
 */

/** `devices/{id}/heartbeat` up. */
export interface HeartbeatPayload {
  readonly serial_no: string;
  readonly model: string;
  readonly current_firmware: string;
  readonly timestamp?: number;
}

/** `devices/{id}/status` up. The words are the device's own; the updates door gives them their meaning. */
export interface StatusPayload {
  readonly campaign_id: string;
  readonly status: string;
  /** Percent, 0–100. */
  readonly progress?: number;
  readonly error?: string;
  readonly timestamp?: number;
}

/** `devices/{id}/notify` up. */
export interface NotifyPayload {
  readonly setting_changed: string;
  readonly old_value?: JsonValue;
  readonly new_value?: JsonValue;
  readonly timestamp?: number;
}

/** `devices/{id}/command` down. `checksum` is `sha256:` and 64 hexadecimal digits. */
export interface OlderCommandPayload {
  readonly command: 'ota_update' | 'config_update' | 'reboot';
  readonly version?: string;
  readonly url?: string;
  readonly checksum?: string;
  readonly size_bytes?: number;
  readonly campaign_id?: string;
  readonly [key: string]: JsonValue | undefined;
}

export const olderLimits: JsonLimits = { maxBytes: 16_384, maxDepth: 8 };

export const parseHeartbeat = (payload: Uint8Array): Parsed<HeartbeatPayload> =>
  parsePayload(heartbeatSchema, payload, olderLimits);

export const parseStatus = (payload: Uint8Array): Parsed<StatusPayload> =>
  parsePayload(statusSchema, payload, olderLimits);

export const parseNotify = (payload: Uint8Array): Parsed<NotifyPayload> =>
  parsePayload(notifySchema, payload, olderLimits);

export const parseOlderCommand = (payload: Uint8Array): Parsed<OlderCommandPayload> =>
  parsePayload(commandSchema, payload, olderLimits);

const shortText = v.pipe(v.string(), v.maxLength(128));
const idText = v.pipe(v.string(), v.minLength(1), v.maxLength(64));
/** By reference: a schema of records would copy, and drop the keys it holds for dangerous. */
const jsonSchema = v.custom<JsonValue>((value) => value !== undefined, 'Expected a JSON value');

/** Below 1e11 it can only be seconds (1e11 ms is 1973, 1e11 s is the year 5138). */
const epochMs = (value: number): number => Math.trunc(value < 1e11 ? value * 1_000 : value);

const timestampSchema = v.exactOptional(
  v.union([
    v.pipe(v.number(), v.minValue(0), v.maxValue(8.64e15), v.transform(epochMs)),
    v.pipe(
      v.string(),
      v.maxLength(40),
      v.check((text) => !Number.isNaN(Date.parse(text)), 'Expected a time'),
      v.transform((text) => Date.parse(text)),
    ),
  ]),
);

const heartbeatSchema = v.object({
  serial_no: shortText,
  model: shortText,
  current_firmware: shortText,
  timestamp: timestampSchema,
});

const statusSchema = v.object({
  campaign_id: idText,
  status: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  progress: v.exactOptional(v.pipe(v.number(), v.minValue(0), v.maxValue(100))),
  error: v.exactOptional(v.pipe(v.string(), v.maxLength(4_096))),
  timestamp: timestampSchema,
});

const notifySchema = v.object({
  setting_changed: v.pipe(v.string(), v.minLength(1), v.maxLength(128)),
  old_value: v.exactOptional(jsonSchema),
  new_value: v.exactOptional(jsonSchema),
  timestamp: timestampSchema,
});

const commandSchema = v.looseObject({
  command: v.picklist(['ota_update', 'config_update', 'reboot']),
  version: v.exactOptional(shortText),
  url: v.exactOptional(v.pipe(v.string(), v.maxLength(2_048))),
  checksum: v.exactOptional(v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/))),
  size_bytes: v.exactOptional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  campaign_id: v.exactOptional(idText),
}) as v.GenericSchema<unknown, OlderCommandPayload>; // a loose object's other fields are JSON values: it came from parseJson
