import { isUtf8 } from 'node:buffer';
import * as v from 'valibot';
import { clientTokenIn, isClientToken } from './client-token.js';
import {
  invalid,
  isDeeperThan,
  isJsonObject,
  type JsonLimits,
  type JsonObject,
  type JsonValue,
  type Parsed,
  parseJson,
  type Rejection,
} from './json-payload.js';

/** `…/shadow/update`. A section that is null is emptied; `state: null` empties both. */
export interface ShadowUpdateRequest {
  readonly state: {
    readonly desired?: JsonObject | null;
    readonly reported?: JsonObject | null;
  } | null;
  /** The update is refused with 409 unless the shadow has this version. */
  readonly version?: number;
  readonly clientToken?: string;
}

/** `…/shadow/get` and `…/shadow/delete`; the payload may be empty. */
export interface ShadowPlainRequest {
  readonly version?: number;
  readonly clientToken?: string;
}

/** The numbers AWS IoT answers with. */
export type ShadowErrorCode = 400 | 401 | 403 | 404 | 409 | 413 | 415 | 429 | 500;

/** `…/rejected`. `timestamp` is in epoch seconds, as AWS IoT has it. */
export interface ShadowRejected {
  readonly code: ShadowErrorCode;
  readonly message: string;
  readonly timestamp: number;
  readonly clientToken?: string;
}

/** The ceiling of one request: the largest document that may be configured (30 KB) and what stands around it. */
export const shadowRequestLimits: JsonLimits = { maxBytes: 32_768, maxDepth: 32 };

/** What is wrong is said in the words of AWS IoT, where it has some: there is device software that looks at them. */
export const parseShadowUpdate = (payload: Uint8Array): Parsed<ShadowUpdateRequest> => {
  const json = parseRequest(payload);
  if (!json.ok) return json;
  const result = v.safeParse(updateSchema, json.value, { abortEarly: true });
  if (!result.success) return refused(payload, invalid(result.issues[0].message));
  const { state, version, clientToken } = result.output;
  return { ok: true, value: { state, ...optional(version, clientToken) } };
};

export const parseShadowPlain = (payload: Uint8Array): Parsed<ShadowPlainRequest> => {
  if (payload.byteLength === 0) return { ok: true, value: {} };
  const json = parseRequest(payload);
  if (!json.ok) return json;
  const result = v.safeParse(plainSchema, json.value, { abortEarly: true });
  if (!result.success) return refused(payload, invalid(result.issues[0].message));
  return { ok: true, value: optional(result.output.version, result.output.clientToken) };
};

/** How deep `desired` and `reported` may nest. */
export const maxShadowDepth = 8;

export const tooManyLevels = (maximum: number): string =>
  `JSON contains too many levels of nesting; maximum is ${maximum}`;
export const payloadTooLarge = 'The payload exceeds the maximum size allowed';

const parseRequest = (payload: Uint8Array): Parsed<JsonObject> => {
  if (payload.byteLength > shadowRequestLimits.maxBytes) {
    return refused(payload, { ok: false, code: 413, reason: payloadTooLarge });
  }
  if (!isUtf8(payload)) return refused(payload, notUtf8);
  if (isDeeperThan(payload, shadowRequestLimits.maxDepth)) {
    return refused(payload, invalid(tooManyLevels(maxShadowDepth)));
  }
  const json = parseJson(payload, shadowRequestLimits);
  if (!json.ok) return refused(payload, { ...json, reason: `Invalid JSON: ${json.reason}` });
  return isJsonObject(json.value)
    ? { ok: true, value: json.value }
    : invalid('Invalid JSON: the request is no object');
};

const notUtf8: Rejection = {
  ok: false,
  code: 415,
  reason: 'Unsupported documented encoding; supported encoding is UTF-8',
};

const tokenSchema = v.pipe(
  v.string('Invalid clientToken'),
  v.check(isClientToken, 'Invalid clientToken'),
);
const versionSchema = v.pipe(
  v.number('Invalid version'),
  v.safeInteger('Invalid version'),
  v.minValue(0, 'Invalid version'),
);
// By reference: a schema of records would copy, and drop the keys it holds for dangerous.
const sectionSchema = (name: string) =>
  v.nullable(
    v.custom<JsonObject>(
      (value) => isJsonObject(value as JsonValue),
      `${name} node must be an object`,
    ),
  );

const plainSchema = v.object({
  version: v.nullish(versionSchema),
  clientToken: v.optional(tokenSchema),
});

const stateSchema = v.pipe(
  // A schema of objects would take an array for one.
  v.custom<JsonObject>((value) => isJsonObject(value as JsonValue), 'State node must be an object'),
  v.strictObject(
    {
      desired: v.exactOptional(sectionSchema('Desired')),
      reported: v.exactOptional(sectionSchema('Reported')),
    },
    ({ received }) => `State contains an invalid node: ${received.replaceAll('"', "'")}`,
  ),
);

const missingState = 'Missing required node: state';

const updateSchema = v.object(
  {
    state: v.nullable(stateSchema),
    version: v.nullish(versionSchema),
    clientToken: v.optional(tokenSchema),
  },
  missingState,
);

const optional = (
  version: number | null | undefined,
  clientToken: string | undefined,
): ShadowPlainRequest => ({
  ...(version === undefined || version === null ? {} : { version }),
  ...(clientToken === undefined ? {} : { clientToken }),
});

const refused = (payload: Uint8Array, rejection: Rejection): Rejection => {
  const clientToken = clientTokenIn(payload);
  return clientToken === undefined ? rejection : { ...rejection, clientToken };
};
