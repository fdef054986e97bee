import * as v from 'valibot';
import {
  invalid,
  isJsonObject,
  type JsonLimits,
  type JsonObject,
  type JsonValue,
  type Parsed,
  parseJson,
  reasonOf,
} from './json-payload.js';

/** One measurement. It counts once by (device, boot, seq) where the device sends both, else by (device, series, ts). */
export interface TelemetryPoint {
  readonly value: JsonValue;
  /** Epoch ms by the device's clock. */
  readonly ts?: number;
  /** Which run of the device; `seq` counts within it. */
  readonly boot?: string;
  readonly seq?: number;
}

export const telemetryLimits: JsonLimits & { readonly maxPoints: number } = {
  maxBytes: 131_072,
  maxDepth: 8,
  maxPoints: 1_000,
};

/**
 * Reads `dt/{id}/telemetry/{sensor}`: a number; an object, whose `ts`, `boot` and `seq` are taken out of it, and which
 * stands for its `value` when it has nothing else; or `{"values":[…]}`, a batch of these. A batch's own `ts` and `boot`
 * hold for the values that have none, its `seq` is that of the first and counts up. Without a `seq` the values of one
 * `ts` are put a millisecond apart, as they count once by their time.
 */
export const parseTelemetry = (payload: Uint8Array): Parsed<readonly TelemetryPoint[]> => {
  const json = parseJson(payload, telemetryLimits);
  if (!json.ok) return json;
  if (typeof json.value === 'number') return { ok: true, value: [{ value: json.value }] };
  if (!isJsonObject(json.value)) return invalid('Telemetry is a number or an object');
  const outer = readPoint(json.value);
  if (!outer.ok) return outer;
  const values = Object.hasOwn(json.value, 'values') ? json.value.values : undefined;
  if (!Array.isArray(values)) return { ok: true, value: [outer.value] };
  return readBatch(values as readonly JsonValue[], outer.value);
};

const metaSchema = v.object({
  ts: v.optional(
    v.pipe(
      v.number('Expected epoch milliseconds'),
      v.minValue(0),
      // The last day of dates, and room for a batch.
      v.maxValue(8.64e15 - 1_000),
      v.transform(Math.trunc),
    ),
  ),
  boot: v.optional(
    v.union([
      v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
      v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.transform(String)),
    ]),
  ),
  seq: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
});

const readPoint = (object: JsonObject): Parsed<TelemetryPoint> => {
  // Most points say nothing of themselves: the site's clock gives their time.
  if (!('ts' in object || 'boot' in object || 'seq' in object)) return readValue(object, {});
  const meta = v.safeParse(metaSchema, object, { abortEarly: true });
  if (!meta.success) return invalid(reasonOf(meta.issues));
  const { ts: _ts, boot: _boot, seq: _seq, ...rest } = object;
  return readValue(rest, meta.output);
};

const readValue = (rest: JsonObject, meta: PointMeta): Parsed<TelemetryPoint> => {
  const keys = Object.keys(rest);
  if (keys.length === 0) return invalid('The telemetry holds no value');
  const value = keys.length === 1 ? (rest.value ?? rest) : rest;
  return { ok: true, value: pointOf(value, meta) };
};

const readBatch = (
  values: readonly JsonValue[],
  outer: TelemetryPoint,
): Parsed<readonly TelemetryPoint[]> => {
  if (values.length === 0) return invalid('The batch is empty');
  if (values.length > telemetryLimits.maxPoints) {
    return invalid(`A batch holds at most ${telemetryLimits.maxPoints} values`);
  }
  const points: TelemetryPoint[] = [];
  for (const [index, item] of values.entries()) {
    const point: Parsed<TelemetryPoint> =
      typeof item === 'number'
        ? { ok: true, value: { value: item } }
        : isJsonObject(item)
          ? readPoint(item)
          : invalid('A value is a number or an object');
    if (!point.ok) return { ...point, reason: `values.${index}: ${point.reason}` };
    const { value, ts, boot = outer.boot } = point.value;
    const seq = point.value.seq ?? numberAt(outer.seq, index);
    const isNumbered = boot !== undefined && seq !== undefined;
    points.push(
      pointOf(value, { ts: ts ?? (isNumbered ? outer.ts : numberAt(outer.ts, index)), boot, seq }),
    );
  }
  return { ok: true, value: points };
};

const numberAt = (first: number | undefined, index: number): number | undefined =>
  first === undefined ? undefined : first + index;

interface PointMeta {
  readonly ts?: number | undefined;
  readonly boot?: string | undefined;
  readonly seq?: number | undefined;
}

const pointOf = (value: JsonValue, { ts, boot, seq }: PointMeta): TelemetryPoint => ({
  value,
  ...(ts === undefined ? {} : { ts }),
  ...(boot === undefined ? {} : { boot }),
  ...(seq === undefined ? {} : { seq }),
});
