/** What people type, parsed. Each throws REQUEST_INVALID with what to type instead. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';

export type JsonObject = { [key: string]: unknown };

/**
 * `a.b=1` pairs as one patch: the value is JSON where it parses as such, else a string; an empty value is the empty string
 * and `null` deletes.
 */
export const parseAssignments = (assignments: readonly string[]): JsonObject => {
  const patch: JsonObject = {};
  for (const assignment of assignments) {
    const split = assignment.indexOf('=');
    if (split <= 0) {
      throw new HoldfastError(
        'REQUEST_INVALID',
        `'${assignment}' is not key=value. Example: report.interval_seconds=30`,
      );
    }
    setAt(patch, assignment.slice(0, split).split('.'), parseValue(assignment.slice(split + 1)));
  }
  return patch;
};

const setAt = (patch: JsonObject, path: readonly string[], value: unknown): void => {
  let at = patch;
  for (const key of path.slice(0, -1)) {
    const next = Object.hasOwn(at, key) ? at[key] : undefined;
    if (typeof next === 'object' && next !== null && !Array.isArray(next)) at = next as JsonObject;
    else at = define(at, key, {}) as JsonObject;
  }
  const last = path.at(-1);
  if (last === undefined || path.some((key) => key === '')) {
    throw new HoldfastError('REQUEST_INVALID', `'${path.join('.')}' has an empty part`);
  }
  define(at, last, value);
};

/** Sets an own property whatever its name, `__proto__` included. */
const define = (object: JsonObject, key: string, value: unknown): unknown => {
  Object.defineProperty(object, key, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
  return value;
};

const parseValue = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
};

/** A JSON object given as one argument, as a command's payload. */
export const parseJsonObject = (text: string | undefined, what: string): JsonObject => {
  if (text === undefined) return {};
  const value = parseValue(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new HoldfastError('REQUEST_INVALID', `${what} has to be a JSON object, as '{"a":1}'`);
  }
  return value as JsonObject;
};

/** A whole number of at least `least`. */
export const parseCount =
  (what: string, least = 0) =>
  (text: string): number => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < least) {
      throw new HoldfastError(
        'REQUEST_INVALID',
        `${what} has to be a whole number from ${least} on, not '${text}'`,
      );
    }
    return value;
  };

/** `SITE/DEVICE`, or DEVICE with the site given apart. */
export const parseDevice = (
  text: string,
  site: string | undefined,
): { site: string | undefined; device: string } => {
  const parts = text.split('/');
  const id = parts.at(-1) ?? '';
  if (parts.length <= 2 && id !== '' && !isDeviceId(id)) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `'${id}' is no device id: it is 1 to 64 of A-Z a-z 0-9 _ -`,
    );
  }
  if (parts.length === 2 && parts[0] && parts[1]) return { site: parts[0], device: parts[1] };
  if (parts.length === 1 && text !== '') return { site, device: text };
  throw new HoldfastError('REQUEST_INVALID', `'${text}' is no device: write SITE/DEVICE`);
};
