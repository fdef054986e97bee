import * as v from 'valibot';
import {
  invalid,
  isJsonObject,
  type JsonLimits,
  type JsonObject,
  type JsonValue,
  type Parsed,
  parseJson,
  type Rejection,
  reasonOf,
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

export const maxClientTokenBytes = 64;

export const parseShadowUpdate = (payload: Uint8Array): Parsed<ShadowUpdateRequest> => {
  const json = parseJson(payload, shadowRequestLimits);
  if (!json.ok) return json;
  if (!isJsonObject(json.value)) return invalid('The request is not a JSON object');
  const result = v.safeParse(updateSchema, json.value, { abortEarly: true });
  if (!result.success) return withToken(invalid(reasonOf(result.issues)), json.value);
  const { state, version, clientToken } = result.output;
  return { ok: true, value: { state, ...optional(version, clientToken) } };
};

export const parseShadowPlain = (payload: Uint8Array): Parsed<ShadowPlainRequest> => {
  if (payload.byteLength === 0) return { ok: true, value: {} };
  const json = parseJson(payload, shadowRequestLimits);
  if (!json.ok) return json;
  if (!isJsonObject(json.value)) return invalid('The request is not a JSON object');
  const result = v.safeParse(plainSchema, json.value, { abortEarly: true });
  if (!result.success) return withToken(invalid(reasonOf(result.issues)), json.value);
  return { ok: true, value: optional(result.output.version, result.output.clientToken) };
};

const isToken = (token: string): boolean => Buffer.byteLength(token) <= maxClientTokenBytes;
const tokenSchema = v.pipe(
  v.string(),
  v.check(isToken, `A client token has at most ${maxClientTokenBytes} bytes`),
);
const versionSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const sectionSchema = v.nullable(
  // By reference: a schema of records would copy, and drop the keys it holds for dangerous.
  v.custom<JsonObject>((value) => isJsonObject(value as JsonValue), 'Expected an object or null'),
);

const plainSchema = v.object({
  version: v.nullish(versionSchema),
  clientToken: v.optional(tokenSchema),
});

const updateSchema = v.object({
  state: v.nullable(
    v.strictObject({
      desired: v.exactOptional(sectionSchema),
      reported: v.exactOptional(sectionSchema),
    }),
  ),
  version: v.nullish(versionSchema),
  clientToken: v.optional(tokenSchema),
});

const optional = (
  version: number | null | undefined,
  clientToken: string | undefined,
): ShadowPlainRequest => ({
  ...(version === undefined || version === null ? {} : { version }),
  ...(clientToken === undefined ? {} : { clientToken }),
});

const withToken = (rejection: Rejection, request: JsonObject): Rejection => {
  const token = Object.hasOwn(request, 'clientToken') ? request.clientToken : undefined;
  return typeof token === 'string' && isToken(token)
    ? { ...rejection, clientToken: token }
    : rejection;
};
