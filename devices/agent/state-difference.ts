import { isJsonObject, type JsonObject, type JsonValue } from '@holdfast/protos/mqtt/json-payload';

/** The shadow update that makes `from` into `to`: changed leaves, `null` for those that are gone; null when there is nothing to say. */
export const stateDifference = (from: JsonObject, to: JsonObject): JsonObject | null => {
  const changes: Record<string, JsonValue> = {};
  for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const before = Object.hasOwn(from, key) ? from[key] : undefined;
    const after = Object.hasOwn(to, key) ? to[key] : undefined;
    if (after === undefined) changes[key] = null;
    else if (isJsonObject(before) && isJsonObject(after)) {
      const inner = stateDifference(before, after);
      if (inner !== null) changes[key] = inner;
    } else if (!isSameLeaf(before, after)) changes[key] = after;
  }
  return Object.keys(changes).length === 0 ? null : changes;
};

/** Applies a delta: objects merge, `null` takes a leaf away, everything else replaces. */
export const mergeState = (into: JsonObject, changes: JsonObject): JsonObject => {
  const merged = new Map<string, JsonValue>(Object.entries(into));
  for (const [key, change] of Object.entries(changes)) {
    const before = merged.get(key);
    if (change === null) merged.delete(key);
    else if (isJsonObject(change)) {
      merged.set(key, mergeState(isJsonObject(before) ? before : {}, change));
    } else merged.set(key, change);
  }
  return Object.fromEntries(merged);
};

const isSameLeaf = (before: JsonValue | undefined, after: JsonValue): boolean =>
  before === after || JSON.stringify(before) === JSON.stringify(after);
