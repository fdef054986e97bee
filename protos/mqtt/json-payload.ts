import { isUtf8 } from 'node:buffer';
import * as v from 'valibot';

/** What JSON can say. Objects are plain; their keys are data, so they are read with `Object.hasOwn` or `Object.keys`. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** A payload as a type of ours, or why it is none. `code` is the answer a `rejected` topic carries. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | Rejection;
export interface Rejection {
  readonly ok: false;
  readonly reason: string;
  readonly code: 400 | 413 | 415;
  /** The request's own, where it could still be read: an answer without it is lost on the device. */
  readonly clientToken?: string;
}

export interface JsonLimits {
  readonly maxBytes: number;
  /** How deep objects and arrays may nest; a scalar has depth 0. */
  readonly maxDepth: number;
}

export const defaultJsonLimits: JsonLimits = { maxBytes: 16_384, maxDepth: 16 };

/**
 * Reads one JSON value out of a payload. Depth is checked on the bytes before anything is built, so that no nesting
 * costs more than a scan; refused besides: invalid UTF-8, half characters (`"\ud800"`), `__proto__` as a key, a key that
 * one object has twice (readers differ in which of them counts), numbers that are no finite double (`1e999` would be
 * written back as `null`).
 */
export const parseJson = (
  payload: Uint8Array,
  limits: JsonLimits = defaultJsonLimits,
): Parsed<JsonValue> => {
  if (payload.byteLength > limits.maxBytes) {
    return tooLarge(`The payload has ${payload.byteLength} bytes, ${limits.maxBytes} are allowed`);
  }
  const members = countMembers(payload, limits.maxDepth);
  if (members === undefined) {
    return invalid(`The JSON is nested deeper than ${limits.maxDepth} levels`);
  }
  if (!isUtf8(payload)) return invalid('The payload is not UTF-8');
  let value: JsonValue;
  try {
    // Only JSON.parse knows what is in it; it can say nothing but JSON values.
    value = JSON.parse(textOf(payload)) as JsonValue;
  } catch {
    return invalid('The payload is not valid JSON');
  }
  const found = { members: 0 };
  const fault = findFault(value, found) ?? (found.members < members ? twice : undefined);
  return fault === undefined ? { ok: true, value } : invalid(fault);
};

/** Reads a payload by a schema. Fields the schema does not know are ignored: newer devices may send more. */
export const parsePayload = <const S extends v.GenericSchema>(
  schema: S,
  payload: Uint8Array,
  limits?: JsonLimits,
): Parsed<v.InferOutput<S>> => {
  const json = parseJson(payload, limits);
  if (!json.ok) return json;
  const result = v.safeParse(schema, json.value, { abortEarly: true });
  return result.success ? { ok: true, value: result.output } : invalid(reasonOf(result.issues));
};

/** The first issue in words, with the place it was found at. */
export const reasonOf = (
  issues: readonly [v.BaseIssue<unknown>, ...v.BaseIssue<unknown>[]],
): string => {
  const [issue] = issues;
  const path = v.getDotPath(issue);
  return path === null ? issue.message : `${path}: ${issue.message}`;
};

export const invalid = (reason: string): Rejection => ({ ok: false, reason, code: 400 });
export const tooLarge = (reason: string): Rejection => ({ ok: false, reason, code: 413 });

export const isJsonObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const textOf = (payload: Uint8Array): string =>
  Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');

const quote = 34;
const backslash = 92;

const colon = 58;
const twice = 'An object has a key twice';

/**
 * How many members all objects have together, those of one key counted each; undefined where brackets nest deeper than that. Bytes of
 * multi-byte characters are all above 127, so bytes suffice.
 */
const countMembers = (payload: Uint8Array, maxDepth: number): number | undefined => {
  let depth = 0;
  let members = 0;
  let isInString = false;
  for (let at = 0; at < payload.length; at += 1) {
    const byte = payload[at];
    if (isInString) {
      if (byte === backslash) at += 1;
      else if (byte === quote) isInString = false;
    } else if (byte === quote) isInString = true;
    else if (byte === colon) members += 1;
    else if (byte === 123 || byte === 91) {
      depth += 1;
      if (depth > maxDepth) return undefined;
    } else if (byte === 125 || byte === 93) depth -= 1;
  }
  return members;
};

export const isDeeperThan = (payload: Uint8Array, maxDepth: number): boolean =>
  countMembers(payload, maxDepth) === undefined;

/** Half a pair has no UTF-8 to be stored or signed as. */
const faultOfText = (text: string): string | undefined =>
  text.isWellFormed() ? undefined : 'A text has half a surrogate pair';

/** Counts members as it goes. Recursion is safe here: the depth was checked. */
const findFault = (value: JsonValue, found: { members: number }): string | undefined => {
  if (typeof value === 'number') {
    return Number.isFinite(value) ? undefined : 'A number is out of range';
  }
  if (typeof value === 'string') return faultOfText(value);
  if (typeof value !== 'object' || value === null) return undefined;
  if (Array.isArray(value)) {
    for (const item of value as readonly JsonValue[]) {
      const fault = findFault(item, found);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }
  const object = value as JsonObject;
  for (const key of Object.keys(object)) {
    found.members += 1;
    if (key === '__proto__') return 'The key __proto__ is not allowed';
    const fault = faultOfText(key) ?? findFault(object[key] ?? null, found);
    if (fault !== undefined) return fault;
  }
  return undefined;
};
