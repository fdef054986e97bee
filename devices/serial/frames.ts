/**
 * The messages of the line-JSON protocol in both directions (PROTOCOL.md): parsed into types on entry, written in one place.
 *
 * Errors: none; a line that is no message of the protocol gives null and is counted by whoever reads the line.
 */
import { isDeviceId, isEntityId, isSensorName } from '@holdfast/protos/mqtt/device-id';
import { jobStatuses } from '@holdfast/protos/mqtt/job-payload';
import {
  isJsonObject,
  type JsonLimits,
  type JsonObject,
  type JsonValue,
  parseJson,
} from '@holdfast/protos/mqtt/json-payload';
import * as v from 'valibot';
import { type Checksum, checkLine, withChecksum } from './checksum.js';

/** A line is bounded by its framing; this bounds what a line can nest. */
const limits: JsonLimits = { maxBytes: 65_536, maxDepth: 16 };

const deviceId = v.pipe(v.string(), v.check(isDeviceId, 'Expected a device id'));
const entityId = v.pipe(v.string(), v.check(isEntityId, 'Expected an id'));
const series = v.pipe(v.string(), v.check(isSensorName, 'Expected a series name'));
const text = v.pipe(v.string(), v.maxLength(256));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
// By reference: a schema of records would copy, and drop the keys it holds for dangerous.
const json = v.custom<JsonValue>((value) => value !== undefined, 'Expected a JSON value');
const jsonObject = v.custom<JsonObject>((value) => isJsonObject(value as JsonValue));
const percent = v.pipe(v.number(), v.minValue(0), v.maxValue(100));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'Expected a SHA-256 in hexadecimal'));
const point = v.object({ value: json, ts: v.exactOptional(count), seq: v.exactOptional(count) });

const hello = v.object({
  t: v.literal('hello'),
  id: deviceId,
  model: v.pipe(text, v.minLength(1)),
  version: v.pipe(text, v.minLength(1)),
  boot: v.pipe(text, v.minLength(1)),
  serial_no: v.exactOptional(text),
  /** The protocol that the device speaks; none is 1. */
  v: v.exactOptional(v.pipe(count, v.minValue(1))),
  /** From here on every line carries a checksum, both ways: CRC-16, or CRC-32. */
  crc: v.exactOptional(v.union([v.boolean(), v.literal(32)])),
  /** The longest line this device can take, in bytes with its newline. */
  max_line: v.exactOptional(v.pipe(count, v.minValue(64))),
});

const upFrame = v.variant('t', [
  hello,
  v.object({
    t: v.literal('telemetry'),
    series,
    value: v.exactOptional(json),
    values: v.exactOptional(v.pipe(v.array(point), v.minLength(1), v.maxLength(100))),
    ts: v.exactOptional(count),
    boot: v.exactOptional(text),
    seq: v.exactOptional(count),
  }),
  v.object({ t: v.literal('reported'), state: jsonObject, ref: v.exactOptional(count) }),
  v.object({
    t: v.literal('response'),
    command_id: entityId,
    status: v.picklist(['accepted', 'in_progress', 'succeeded', 'failed', 'rejected', 'expired']),
    result: v.exactOptional(json),
    error: v.exactOptional(text),
  }),
  v.object({ t: v.literal('get') }),
  v.object({ t: v.literal('time') }),
  v.object({
    t: v.literal('fetch'),
    job_id: entityId,
    offset: count,
    length: v.pipe(count, v.minValue(1)),
  }),
  v.object({
    t: v.literal('job_status'),
    job_id: entityId,
    status: v.picklist(jobStatuses),
    progress: v.exactOptional(percent),
    error: v.exactOptional(text),
  }),
  v.object({ t: v.literal('pong') }),
]);

/** What an answer is to. */
const answered = {
  seq: v.exactOptional(count),
  ref: v.exactOptional(count),
  command_id: v.exactOptional(entityId),
  job_id: v.exactOptional(entityId),
  /** The status of a job that was taken: of several that were sent, this one. */
  status: v.exactOptional(v.picklist(jobStatuses)),
};

const downFrame = v.variant('t', [
  v.object({ t: v.literal('who') }),
  v.object({
    t: v.literal('welcome'),
    id: deviceId,
    ts: count,
    trusted: v.boolean(),
    /** Of the hello that it answers: a device that restarted meanwhile is not meant. */
    boot: v.exactOptional(text),
    /** The protocol that is spoken from here on: at most the device's; none is 1. */
    v: v.exactOptional(v.pipe(count, v.minValue(1))),
  }),
  v.object({ t: v.literal('time'), ts: count, trusted: v.boolean() }),
  v.object({ t: v.literal('desired'), state: jsonObject, version: count }),
  v.object({ t: v.literal('delta'), state: jsonObject, version: count }),
  v.object({
    t: v.literal('command'),
    command_id: entityId,
    type: text,
    payload: v.exactOptional(json),
    expires_at: count,
  }),
  v.object({
    t: v.literal('ack'),
    ...answered,
  }),
  v.object({
    t: v.literal('nack'),
    ...answered,
    code: text,
    message: text,
  }),
  v.object({
    t: v.literal('job'),
    job_id: entityId,
    version: v.pipe(text, v.minLength(1)),
    size: v.pipe(count, v.minValue(1)),
    sha256,
  }),
  v.object({
    t: v.literal('image'),
    job_id: entityId,
    offset: count,
    data: v.pipe(v.string(), v.base64()),
  }),
  v.object({ t: v.literal('ping') }),
  /** The application is to go to its boot loader. */
  v.object({ t: v.literal('bootloader') }),
]);

/** Every `t` that a device, and that a gateway may say. */
export const upKinds: readonly string[] = upFrame.options.map(({ entries }) => entries.t.literal);
export const downKinds: readonly string[] = downFrame.options.map(
  ({ entries }) => entries.t.literal,
);

export type UpFrame = v.InferOutput<typeof upFrame>;
export type DownFrame = v.InferOutput<typeof downFrame>;
export type Hello = v.InferOutput<typeof hello>;
export type TelemetryFrame = Extract<UpFrame, { t: 'telemetry' }>;
export type ResponseFrame = Extract<UpFrame, { t: 'response' }>;
export type FetchFrame = Extract<UpFrame, { t: 'fetch' }>;
export type JobStatusFrame = Extract<UpFrame, { t: 'job_status' }>;
export type JobFrame = Extract<DownFrame, { t: 'job' }>;
export type ImageFrame = Extract<DownFrame, { t: 'image' }>;

/** The protocol that this end speaks, and the highest that it knows. */
export const protocolVersion = 1;

export interface ReceivedFrame<F> {
  readonly frame: F;
  readonly checksum: Checksum;
}

/** What a device said; null when the line is no message of the protocol. */
export const parseUpFrame = (line: string): ReceivedFrame<UpFrame> | null => parse(upFrame, line);

/** What the gateway said; the simulated device reads with it. */
export const parseDownFrame = (line: string): ReceivedFrame<DownFrame> | null =>
  parse(downFrame, line);

/** One line with its newline. */
export const encodeFrame = (frame: UpFrame | DownFrame, checksum: Checksum): string => {
  const line = JSON.stringify(frame);
  return `${checksum === false ? line : withChecksum(line, checksum)}\n`;
};

const parse = <S extends v.GenericSchema>(
  schema: S,
  line: string,
): ReceivedFrame<v.InferOutput<S>> | null => {
  const checked = checkLine(line);
  if (!checked.ok) return null;
  const value = parseJson(Buffer.from(checked.json), limits);
  if (!value.ok) return null;
  const result = v.safeParse(schema, value.value, { abortEarly: true });
  return result.success ? { frame: result.output, checksum: checked.checksum } : null;
};
