/** What differs, leaf by leaf: between both sections of a shadow, or between two of its versions. Pure. */
import { isDeepStrictEqual } from 'node:util';
import type { ChangeRow, LeafChange, ShadowRow } from './shadow-rows.js';

/** From `reported` (before) to `desired` (after), of the leaves that are desired and not reported so. */
export const sectionsDiffer = ({ delta = {}, reported = {} }: ShadowRow): LeafChange[] =>
  leavesOf(delta, []).map(([path, after]) => {
    const before = valueAt(reported, path);
    return before === undefined ? { path, after } : { path, before, after };
  });

/** What several changes, oldest first, come to. */
export const netChange = (changes: readonly ChangeRow[]): LeafChange[] => {
  const net = new Map<string, LeafChange>();
  for (const leaf of changes.flatMap((change) => change.changes)) {
    const key = JSON.stringify(leaf.path);
    const first = net.get(key) ?? leaf;
    net.set(key, {
      path: leaf.path,
      ...('before' in first ? { before: first.before } : {}),
      ...('after' in leaf ? { after: leaf.after } : {}),
    });
  }
  return [...net.values()]
    .filter(({ before, after }) => !isDeepStrictEqual(before, after))
    .sort((a, b) => (a.path.join('.') < b.path.join('.') ? -1 : 1));
};

const leavesOf = (value: unknown, path: readonly string[]): [readonly string[], unknown][] =>
  isBranch(value)
    ? Object.entries(value).flatMap(([key, child]) => leavesOf(child, [...path, key]))
    : [[path, value]];

const valueAt = (value: unknown, path: readonly string[]): unknown => {
  let at = value;
  for (const key of path) at = isBranch(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  return at;
};

const isBranch = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
