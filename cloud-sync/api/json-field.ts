/** JSON objects in requests: google.protobuf.Struct can hold what JSON cannot, and more than anybody should send. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  isJsonObject,
  type JsonLimits,
  type JsonObject,
  parseJson,
} from '@holdfast/protos/mqtt/json-payload';

/** The field as plain JSON; an absent one is an empty object. Errors: REQUEST_INVALID, REQUEST_TOO_LARGE. */
export const requireJsonObject = (
  value: Readonly<Record<string, unknown>> | undefined,
  field: string,
  limits: JsonLimits,
): JsonObject => {
  const text = JSON.stringify(value ?? {}, (_key, part: unknown) => {
    // JSON.stringify would make null of a NaN, and drop what has no value at all.
    if (part === undefined || (typeof part === 'number' && !Number.isFinite(part))) {
      throw new HoldfastError('REQUEST_INVALID', `${field} holds a value that JSON does not have`);
    }
    return part;
  });
  const parsed = parseJson(Buffer.from(text), limits);
  if (parsed.ok && isJsonObject(parsed.value)) return parsed.value;
  const code = !parsed.ok && parsed.code === 413 ? 'REQUEST_TOO_LARGE' : 'REQUEST_INVALID';
  throw new HoldfastError(code, `${field}: ${parsed.ok ? 'not an object' : parsed.reason}`);
};
