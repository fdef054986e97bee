import * as v from 'valibot';
import { clientTokenIn, isClientToken } from './client-token.js';
import {
  isJsonObject,
  type JsonLimits,
  type JsonObject,
  parseJson,
  reasonOf,
} from './json-payload.js';

/** `…/jobs/get` of AWS IoT; every payload here may be empty. */
export interface AwsJobsGetRequest {
  readonly clientToken?: string;
}

/** `…/jobs/start-next`. */
export interface AwsJobsStartRequest extends AwsJobsGetRequest {
  readonly statusDetails?: Readonly<Record<string, string>>;
  readonly stepTimeoutInMinutes?: number;
}

/** `…/jobs/{jobId}/get`. */
export interface AwsJobGetRequest extends AwsJobsGetRequest {
  readonly executionNumber?: number;
  readonly includeJobDocument?: boolean;
}

/** What a device may make of an execution; the other states are the service's. */
export const awsDeviceStatuses = ['IN_PROGRESS', 'FAILED', 'SUCCEEDED', 'REJECTED'] as const;

/** `…/jobs/{jobId}/update`. */
export interface AwsJobUpdateRequest extends AwsJobsStartRequest {
  readonly status: (typeof awsDeviceStatuses)[number];
  readonly expectedVersion?: number;
  readonly executionNumber?: number;
  readonly includeJobExecutionState?: boolean;
  readonly includeJobDocument?: boolean;
}

export type AwsJobsErrorCode =
  | 'InvalidTopic'
  | 'InvalidJson'
  | 'InvalidRequest'
  | 'InvalidStateTransition'
  | 'ResourceNotFound'
  | 'VersionMismatch'
  | 'InternalError'
  | 'RequestThrottled'
  | 'TerminalStateReached';

/** Of an execution: those a device makes of it, and those that are the service's. */
export type AwsJobStatus =
  | (typeof awsDeviceStatuses)[number]
  | 'QUEUED'
  | 'TIMED_OUT'
  | 'REMOVED'
  | 'CANCELED';

/** How an execution stands; told with an update, and with its refusal. */
export interface AwsExecutionState {
  readonly status: AwsJobStatus;
  readonly statusDetails: Readonly<Record<string, string>>;
  /** One more with each update of the device. */
  readonly versionNumber: number;
}

/** An execution in a list. Times are in epoch seconds. */
export interface AwsExecutionSummary {
  readonly jobId: string;
  readonly executionNumber: number;
  readonly versionNumber: number;
  readonly queuedAt: number;
  readonly startedAt?: number;
  readonly lastUpdatedAt: number;
}

/** An execution as it is described. */
export interface AwsExecution extends AwsExecutionSummary {
  readonly thingName: string;
  readonly status: AwsJobStatus;
  readonly statusDetails: Readonly<Record<string, string>>;
  readonly jobDocument?: JsonObject;
}

/** `…/jobs/notify`; what is empty is left out. */
export interface AwsJobsNotice {
  readonly timestamp: number;
  readonly jobs: Readonly<
    Partial<Record<'IN_PROGRESS' | 'QUEUED', readonly AwsExecutionSummary[]>>
  >;
}

/** `…/jobs/notify-next`; without an execution when there is none. */
export interface AwsNextJobNotice {
  readonly timestamp: number;
  readonly execution?: AwsExecution;
}

/** `…/rejected`. `timestamp` is in epoch seconds. */
export interface AwsJobsRejected {
  readonly code: AwsJobsErrorCode;
  readonly message: string;
  readonly timestamp: number;
  readonly clientToken?: string;
  readonly executionState?: AwsExecutionState;
}

export type AwsJobsParsed<T> = { readonly ok: true; readonly value: T } | AwsJobsRefusal;
export interface AwsJobsRefusal {
  readonly ok: false;
  readonly code: 'InvalidJson' | 'InvalidRequest';
  readonly message: string;
  readonly clientToken?: string;
}

export const parseAwsJobsGet = (payload: Uint8Array): AwsJobsParsed<AwsJobsGetRequest> =>
  parse(getSchema, payload);

export const parseAwsJobsStart = (payload: Uint8Array): AwsJobsParsed<AwsJobsStartRequest> =>
  parse(startSchema, payload);

export const parseAwsJobGet = (payload: Uint8Array): AwsJobsParsed<AwsJobGetRequest> =>
  parse(describeSchema, payload);

export const parseAwsJobUpdate = (payload: Uint8Array): AwsJobsParsed<AwsJobUpdateRequest> =>
  parse(updateSchema, payload);

/** Details of ten entries of a kilobyte, and what stands around them. */
const limits: JsonLimits = { maxBytes: 16_384, maxDepth: 16 };

const parse = <const S extends v.GenericSchema>(
  schema: S,
  payload: Uint8Array,
): AwsJobsParsed<v.InferOutput<S>> => {
  const refused = (code: AwsJobsRefusal['code'], message: string): AwsJobsRefusal => {
    const clientToken = clientTokenIn(payload);
    return { ok: false, code, message, ...(clientToken === undefined ? {} : { clientToken }) };
  };
  const json =
    payload.byteLength === 0 ? ({ ok: true, value: {} } as const) : parseJson(payload, limits);
  if (!json.ok) return refused(json.code === 413 ? 'InvalidRequest' : 'InvalidJson', json.reason);
  if (!isJsonObject(json.value))
    return refused('InvalidRequest', 'The request is not a JSON object');
  // Clients in other languages write what they leave out as null.
  const given = Object.fromEntries(
    Object.entries(json.value).filter(([, value]) => value !== null),
  );
  const result = v.safeParse(schema, given, { abortEarly: true });
  if (!result.success) return refused('InvalidRequest', reasonOf(result.issues));
  return { ok: true, value: result.output };
};

/** Numbers come as text too: clients in C write them so. */
const count = v.union(
  [
    v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
    v.pipe(v.string(), v.regex(/^\d{1,15}$/), v.transform(Number)),
  ],
  'must be a number',
);
const details = v.pipe(
  v.record(
    v.pipe(v.string(), v.regex(/^[a-zA-Z0-9:_-]{1,128}$/, 'must have a name of [a-zA-Z0-9:_-]')),
    v.pipe(v.string(), v.maxLength(1_024)),
  ),
  v.maxEntries(10),
);
const token = {
  clientToken: v.exactOptional(
    v.pipe(v.string(), v.check(isClientToken, 'must have at most 64 bytes')),
  ),
};
const start = {
  ...token,
  statusDetails: v.exactOptional(details),
  /** -1 takes the limit away. */
  stepTimeoutInMinutes: v.exactOptional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(-1),
      v.maxValue(10_080),
      v.notValue(0, 'must be 1 to 10080, or -1'),
    ),
  ),
};

const getSchema = v.object(token);
const startSchema = v.object(start);
const describeSchema = v.object({
  ...token,
  executionNumber: v.exactOptional(count),
  includeJobDocument: v.exactOptional(v.boolean()),
});
const updateSchema = v.object({
  ...start,
  status: v.picklist(awsDeviceStatuses),
  expectedVersion: v.exactOptional(count),
  executionNumber: v.exactOptional(count),
  includeJobExecutionState: v.exactOptional(v.boolean()),
  includeJobDocument: v.exactOptional(v.boolean()),
});
