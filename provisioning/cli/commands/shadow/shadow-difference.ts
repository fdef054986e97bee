/** What is desired and not reported so, leaf by leaf. Pure. */
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import type { LeafChange } from '@holdfast/protos/semantics/shadow-history';
import type { ShadowRow } from './shadow-rows.js';

/** From what is reported (before) to what is desired (after). */
export const sectionsDiffer = ({ delta = {}, reported = {} }: ShadowRow): LeafChange[] =>
  leavesOf(delta, []).map(([path, after]) => {
    const before = valueAt(reported, path);
    return before === undefined ? { path, after } : { path, before, after };
  });

const leavesOf = (value: unknown, path: readonly string[]): [readonly string[], JsonValue][] =>
  isBranch(value)
    ? Object.entries(value).flatMap(([key, child]) => leavesOf(child, [...path, key]))
    : [[path, value as JsonValue]]; // out of JSON

const valueAt = (value: unknown, path: readonly string[]): JsonValue | undefined => {
  let at = value;
  for (const key of path) at = isBranch(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  return at as JsonValue | undefined; // likewise
};

const isBranch = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
