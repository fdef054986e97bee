import * as v from 'valibot';
import {
  isJsonObject,
  type JsonLimits,
  type JsonObject,
  type JsonValue,
  type Parsed,
  parsePayload,
} from './json-payload.js';

/** What a device may say of an execution; the order is that of an update that goes well. */
export const jobStatuses = [
  'queued',
  'offered',
  'downloading',
  'verifying',
  'installing',
  /** Under way, of a job that has no stages. */
  'in_progress',
  'rebooting',
  'confirming',
  'succeeded',
  'failed',
  'rolled_back',
  'cancelled',
  'rejected',
] as const;
export type JobStatus = (typeof jobStatuses)[number];

/** `dt/{id}/jobs/{job_id}/update` up. */
export interface JobUpdateRequest {
  readonly status: JobStatus;
  /** Percent, 0–100. */
  readonly progress?: number;
  readonly error?: string;
  /** Drawn anew at every boot (or process start, for slots): the native proof of boot. */
  readonly boot_id?: string;
  /** The firmware version that runs now. */
  readonly version?: string;
  /** What else it says of this execution, by name: the step that is under way, the result of a job. Added to what it said before. */
  readonly details?: Readonly<Record<string, string>>;
  /** The update is refused unless the execution has this version. */
  readonly expected_version?: number;
  readonly client_token?: string;
}

/** In place of a job's id: the next one, whatever it is. No campaign or job may have this id. */
export const nextJob = 'next';

/** `dt/{id}/jobs/{job_id}/get` up; the payload may be empty. Answered with JobNotifyPayload, and the request's token. */
export interface JobGetRequest {
  readonly client_token?: string;
}

/** What `…/jobs/notify` and `…/get/accepted` say of one execution. `version` counts up with each change of it. */
export interface JobExecutionPayload {
  readonly job_id: string;
  readonly version: number;
  readonly status: string;
  readonly document: JsonObject;
}

/** `dt/{id}/jobs/notify` down: the next execution, or null when there is none. */
export interface JobNotifyPayload {
  readonly execution: JobExecutionPayload | null;
}

export const jobLimits: JsonLimits = { maxBytes: 65_536, maxDepth: 16 };

export const parseJobUpdate = (payload: Uint8Array): Parsed<JobUpdateRequest> =>
  parsePayload(updateSchema, payload, jobLimits);

export const parseJobGet = (payload: Uint8Array): Parsed<JobGetRequest> =>
  payload.byteLength === 0 ? { ok: true, value: {} } : parsePayload(getSchema, payload, jobLimits);

export const parseJobNotify = (payload: Uint8Array): Parsed<JobNotifyPayload> =>
  parsePayload(notifySchema, payload, jobLimits);

const shortText = v.pipe(v.string(), v.minLength(1), v.maxLength(128));
const countSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const detailsSchema = v.pipe(
  v.record(
    v.pipe(v.string(), v.regex(/^[a-zA-Z0-9:_-]{1,128}$/, 'Expected a name of [a-zA-Z0-9:_-]')),
    v.pipe(v.string(), v.maxLength(1_024)),
  ),
  v.maxEntries(10),
);

const updateSchema = v.object({
  status: v.picklist(jobStatuses),
  progress: v.exactOptional(v.pipe(v.number(), v.minValue(0), v.maxValue(100))),
  error: v.exactOptional(v.pipe(v.string(), v.maxLength(4_096))),
  boot_id: v.exactOptional(shortText),
  version: v.exactOptional(shortText),
  details: v.exactOptional(detailsSchema),
  expected_version: v.exactOptional(countSchema),
  client_token: v.exactOptional(shortText),
});

const getSchema = v.object({ client_token: v.exactOptional(shortText) });

const notifySchema = v.object({
  execution: v.nullable(
    v.object({
      job_id: shortText,
      version: countSchema,
      status: shortText,
      // By reference: a schema of records would copy, and drop the keys it holds for dangerous.
      document: v.custom<JsonObject>(
        (value) => isJsonObject(value as JsonValue),
        'Expected an object',
      ),
    }),
  ),
});
