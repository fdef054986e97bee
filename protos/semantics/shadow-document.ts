import { isJsonObject, type JsonObject, type JsonValue } from '../mqtt/json-payload.js';
import { tooManyLevels } from '../mqtt/shadow-payload.js';
import { PathIndex } from './path-index.js';
import {
  keyOf,
  type ShadowEdit,
  type ShadowOperation,
  type ShadowPath,
  type ShadowState,
  visibleLeaves,
} from './shadow-merge.js';

/** What devices and people see of a shadow, made out of its leaves; the same at the site and in the cloud. */
export interface ShadowDocument {
  readonly desired?: JsonObject;
  readonly reported?: JsonObject;
}

export type ShadowSection = keyof ShadowDocument;
export const shadowSections: readonly ShadowSection[] = ['desired', 'reported'];

/** The name of the classic shadow, which in topics has none, wherever a shadow must have a name. */
export const classicShadow = '-';

/** A document and, in the same shape, `{timestamp}` (epoch seconds) for every leaf. */
export interface RenderedShadow {
  readonly state: ShadowDocument;
  readonly metadata: ShadowDocument;
}

/** A patch: objects merge, arrays are replaced whole, null deletes; a section that is null is emptied. */
export interface ShadowPatch {
  readonly desired?: JsonObject | null;
  readonly reported?: JsonObject | null;
}

/** The document and its metadata. A section without leaves is absent. */
export const renderShadow = (state: ShadowState): RenderedShadow =>
  renderLeaves(visibleLeaves(state));

/** The same of some operations alone: what an answer says of the request's own leaves. */
export const renderLeaves = (leaves: readonly ShadowOperation[]): RenderedShadow => {
  // In order, so that replicas that hold the same leaves make the same text.
  const sorted = [...leaves].sort(byPath);
  return {
    state: treeOf(sorted, ({ value = null }) => value),
    metadata: treeOf(sorted, ({ stamp }) => ({ timestamp: Math.floor(stamp.wall / 1_000) })),
  };
};

export interface ShadowDelta {
  readonly state: JsonObject;
  /** When each of these leaves was desired. */
  readonly metadata: JsonObject;
}

/** Every desired leaf that is missing in `reported` or differs there, arrays whole; undefined when there is none. */
export const deltaOf = (state: ShadowState): ShadowDelta | undefined => {
  const leaves = visibleLeaves(state).filter(({ path, value }) => {
    if (path[0] !== 'desired') return false;
    // No leaf is an object, so only a leaf at the same place can equal it.
    const reported = state.leaves.get(keyOf(['reported', ...path.slice(1)]));
    return !isEqual(reported?.value, value);
  });
  const { state: difference, metadata } = renderLeaves(leaves);
  if (difference.desired === undefined) return undefined;
  return { state: difference.desired, metadata: metadata.desired ?? {} };
};

/**
 * The edits a patch asks for. An object without keys holds no leaf, so it writes nothing; a null where nothing is
 * deletes nothing. Overlapping edits cannot come of a patch.
 */
export const editsOf = (state: ShadowState, patch: ShadowPatch): ShadowEdit[] => {
  const visible = new PathIndex(visibleLeaves(state));
  const edits: ShadowEdit[] = [];
  const walk = (path: ShadowPath, value: JsonValue): void => {
    if (isJsonObject(value)) {
      for (const [key, child] of Object.entries(value)) walk([...path, key], child);
    } else if (value !== null) edits.push({ path, value });
    else if (visible.along(path).length > 0) edits.push({ path });
  };
  for (const section of shadowSections) {
    const value = patch[section];
    if (value !== undefined) walk([section], value);
  }
  return edits;
};

/** Why a patch is none, in the words of AWS IoT for the one who sent it; undefined when it is fine. */
export const faultOfPatch = (patch: ShadowPatch, maxDepth: number): string | undefined => {
  for (const section of shadowSections) {
    const value = patch[section] ?? null;
    if (depthOf(value) > maxDepth) return tooManyLevels(maxDepth);
    if (hasNullInArray(value)) {
      return `State contains an invalid node: null in an array of ${section}`;
    }
  }
  return undefined;
};

/** Bytes that a document may have at both ends, as with AWS IoT: unless it is set otherwise, and at most. */
export const shadowBytes = { default: 8_192, most: 30_720 } as const;

/** What the size limit counts: both sections as JSON, without metadata. */
export const sizeOfDocument = ({ desired, reported }: ShadowDocument): number =>
  bytesOf(desired) + bytesOf(reported);

/** Equal as JSON: the order of keys makes no difference. */
export const isEqual = (a: JsonValue | undefined, b: JsonValue | undefined): boolean => {
  if (a === b) return true;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return (a as readonly JsonValue[]).every((item, at) => isEqual(item, (b as JsonValue[])[at]));
  }
  if (!isJsonObject(a) || !isJsonObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isEqual(a[key], b[key]))
  );
};

const treeOf = (
  leaves: readonly ShadowOperation[],
  render: (leaf: ShadowOperation) => JsonValue,
): ShadowDocument => {
  const root: Branch = {};
  for (const leaf of leaves) {
    let branch = root;
    const last = leaf.path.length - 1;
    for (const [depth, key] of leaf.path.entries()) {
      if (depth === last) branch[key] = render(leaf);
      // `__proto__` is refused as a key on entry, so an assignment makes a key like any other.
      else if (!Object.hasOwn(branch, key)) branch[key] = {};
      // Nothing is visible above a leaf, so what is there is a branch.
      branch = branch[key] as Branch;
    }
  }
  // Only sections stand at the top: every path begins with one.
  return root as ShadowDocument;
};

interface Branch {
  [key: string]: JsonValue | Branch;
}

const byPath = ({ path: a }: ShadowOperation, { path: b }: ShadowOperation): number => {
  for (let at = 0; at < a.length && at < b.length; at += 1) {
    const [x = '', y = ''] = [a[at], b[at]];
    if (x !== y) return x < y ? -1 : 1;
  }
  return a.length - b.length;
};

/** A section is no level of its own: `{a: 1}` has one. */
const depthOf = (value: JsonValue): number => {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
};

const hasNullInArray = (value: JsonValue): boolean => {
  if (Array.isArray(value)) {
    return (value as readonly JsonValue[]).some((item) => item === null || hasNullInArray(item));
  }
  return isJsonObject(value) && Object.values(value).some(hasNullInArray);
};

const bytesOf = (section: JsonObject | undefined): number =>
  section === undefined ? 0 : Buffer.byteLength(JSON.stringify(section));
