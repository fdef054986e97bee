/**
 * What a commit changed in a shadow, writer by writer, as both ends put it down; and what several of them come to. Pure.
 *
 * Only what can be seen counts: a value that is written again as it was, or an operation that is forgotten, changes nothing.
 */
import type { JsonValue } from '../mqtt/json-payload.js';
import { compareTimes } from './hybrid-clock.js';
import { isEqual } from './shadow-document.js';
import {
  keyOf,
  type ShadowOperation,
  type ShadowPath,
  type ShadowState,
  visibleLeaves,
} from './shadow-merge.js';

export interface LeafChange {
  readonly path: ShadowPath;
  /** Absent where nothing was. */
  readonly before?: JsonValue;
  /** Absent where nothing is now. */
  readonly after?: JsonValue;
}

/** What one writer changed in one commit. */
export interface WriterChange {
  readonly writer: string;
  /** Wall time of the newest of its writes, epoch ms. */
  readonly writtenAt: number;
  /** Whether the writer's clock was to be believed; where not, it wrote at some time after `writtenAt`. */
  readonly trusted: boolean;
  /** By path. */
  readonly changes: readonly LeafChange[];
}

/** The changes from one state to the next by these operations; the writer who wrote first comes first. */
export const changesBetween = (
  before: ShadowState,
  after: ShadowState,
  operations: readonly ShadowOperation[],
): WriterChange[] => {
  const newestFirst = [...operations].sort((a, b) => compareTimes(b.stamp, a.stamp));
  const byWriter = new Map<string, { by: ShadowOperation; changes: LeafChange[] }>();
  for (const change of leavesBetween(before, after)) {
    const by =
      (change.after === undefined ? undefined : after.leaves.get(keyOf(change.path))) ??
      newestFirst.find(({ path }) => isAlong(path, change.path));
    // Without an operation nothing changes that can be seen.
    if (by === undefined) continue;
    const known = byWriter.get(by.stamp.writer);
    if (known === undefined) byWriter.set(by.stamp.writer, { by, changes: [change] });
    else {
      known.changes.push(change);
      if (compareTimes(known.by.stamp, by.stamp) < 0) known.by = by;
    }
  }
  return [...byWriter.values()]
    .sort((a, b) => compareTimes(a.by.stamp, b.by.stamp))
    .map(({ by, changes }) => ({
      writer: by.stamp.writer,
      writtenAt: by.stamp.wall,
      trusted: by.trusted !== false,
      changes,
    }));
};

/** What changes come to that are given in their order: what was before the first, and after the last; by path. */
export const foldChanges = (changes: Iterable<LeafChange>): LeafChange[] => {
  const folded = new Map<string, LeafChange>();
  for (const change of changes) {
    const key = keyOf(change.path);
    const { before, ...rest } = folded.get(key) ?? change;
    folded.set(key, changeAt(rest.path, before, change.after));
  }
  return [...folded.values()].filter((change) => !isSame(change)).sort(byPath);
};

/** The part of a change at a path and below it. */
export const changesBelow = (path: ShadowPath, changes: readonly LeafChange[]): LeafChange[] =>
  changes.filter((change) => path.every((key, at) => key === change.path[at]));

const leavesBetween = (before: ShadowState, after: ShadowState): LeafChange[] => {
  const changes: LeafChange[] = [];
  for (const { path, value } of visibleLeaves(before)) {
    const now = after.leaves.get(keyOf(path))?.value;
    changes.push(changeAt(path, value, now));
  }
  for (const { path, value } of visibleLeaves(after)) {
    const isNew = before.leaves.get(keyOf(path))?.value === undefined;
    if (isNew) changes.push(changeAt(path, undefined, value));
  }
  return changes.filter((change) => !isSame(change)).sort(byPath);
};

const changeAt = (
  path: ShadowPath,
  before: JsonValue | undefined,
  after: JsonValue | undefined,
): LeafChange => ({
  path,
  ...(before === undefined ? {} : { before }),
  ...(after === undefined ? {} : { after }),
});

/** Absent and null differ, though no leaf is ever null. */
const isSame = ({ before, after }: LeafChange): boolean =>
  before === undefined || after === undefined ? before === after : isEqual(before, after);

const isAlong = (a: ShadowPath, b: ShadowPath): boolean => {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) if (a[at] !== b[at]) return false;
  return true;
};

const byPath = ({ path: a }: LeafChange, { path: b }: LeafChange): number => {
  for (let at = 0; at < a.length && at < b.length; at += 1) {
    const [x = '', y = ''] = [a[at], b[at]];
    if (x !== y) return x < y ? -1 : 1;
  }
  return a.length - b.length;
};
