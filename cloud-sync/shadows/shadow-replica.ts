/**
 * One shadow as this end keeps it, and what becomes of it: the control plane is one of the two replicas of the merge in
 * protos/semantics, the site is the other. Pure.
 */
import { deadFromOthers, withinLosers } from '@holdfast/protos/semantics/forget-operations';
import { type HybridTime, laterOf, zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import { collectInCloud } from '@holdfast/protos/semantics/shadow-collection';
import {
  editsOf,
  renderShadow,
  type ShadowPatch,
} from '@holdfast/protos/semantics/shadow-document';
import { mostLosers } from '@holdfast/protos/semantics/shadow-limits';
import {
  applyOperations,
  emptyShadow,
  latestTime,
  mintOperations,
  type ShadowEdit,
  type ShadowOperation,
  type ShadowState,
  type ShadowWriteId,
} from '@holdfast/protos/semantics/shadow-merge';
import {
  everythingIn,
  isAllOf,
  takeEverything,
  whatIsLeftOf,
} from '@holdfast/protos/semantics/shadow-resupply';

export interface ShadowReplica {
  /** Counts every change here; stays when the shadow is deleted, so that it never goes back. */
  readonly version: number;
  /** Whether there is a shadow: a deleted one keeps its version and its deletions. */
  readonly exists: boolean;
  readonly state: ShadowState;
  /** The highest time it ever held. */
  readonly time: HybridTime;
}

export const noShadow: ShadowReplica = {
  version: 0,
  exists: false,
  state: emptyShadow,
  time: zeroTime,
};

export interface WriteContext {
  /** This replica: the log of the database. */
  readonly replica: string;
  /** As `cloud:{caller}`. */
  readonly writer: string;
  /** The highest time it has seen. */
  readonly seen: HybridTime;
  /** Epoch ms. */
  readonly now: number;
}

/** A change, and what the site has to be told of it. */
export interface ShadowChange {
  readonly shadow: ShadowReplica;
  /** What was minted here. */
  readonly operations: readonly ShadowOperation[];
  /** Operations of the site that are superseded here: nothing but conflicts. */
  readonly lost?: readonly ShadowOperation[];
  /** Operations of the site that hold no value here any more: it may forget them. */
  readonly dead: readonly ShadowWriteId[];
  /** Whether the operations delete the shadow as a whole. */
  readonly isDeletion?: boolean;
}

/** Merges a patch. */
export const writePatch = (
  before: ShadowReplica,
  patch: ShadowPatch,
  context: WriteContext,
): ShadowChange => writeEdits(before, editsOf(before.state, patch), context);

/** Writes leaves, which must not overlap. */
export const writeEdits = (
  before: ShadowReplica,
  edits: readonly ShadowEdit[],
  context: WriteContext,
): ShadowChange => {
  const { state, operations, dead } = minted(before, edits, context);
  return {
    shadow: withState(before, state, { exists: true, version: before.version + 1 }),
    operations,
    dead,
  };
};

/** Ends a conflict by a write. Who keeps the deletion of a shadow does not make it anew. */
export const writeSettlement = (
  before: ShadowReplica,
  edit: ShadowEdit,
  context: WriteContext,
): ShadowChange => {
  const change = writeEdits(before, [edit], context);
  const { desired, reported } = renderShadow(change.shadow.state).state;
  if (before.exists || desired !== undefined || reported !== undefined) return change;
  return { ...change, shadow: withState(before, change.shadow.state, before) };
};

/** Deletes both sections. A deletion is no version of its own: the next is that of whatever is written next. */
export const deleteShadow = (before: ShadowReplica, context: WriteContext): ShadowChange => {
  const edits = editsOf(before.state, { desired: null, reported: null });
  const { state, operations, dead } = minted(before, edits, context);
  return {
    shadow: withState(before, state, { exists: false, version: before.version }),
    operations,
    dead,
    isDeletion: true,
  };
};

export interface Received {
  readonly operations: readonly ShadowOperation[];
  /** Operations that hold no value at the site any more. */
  readonly dead: readonly ShadowWriteId[];
  /** Whether the operations deleted the shadow as a whole. */
  readonly isDeletion: boolean;
  /** Superseded at the site: nothing but conflicts. */
  readonly lost?: readonly ShadowOperation[];
  /** Whether it is all that the site has of the shadow. */
  readonly isEverything?: boolean;
}

/** Merges what a site wrote; undefined when all of it was known. */
export const mergeReceived = (
  before: ShadowReplica,
  { operations, dead, lost = [], isDeletion, isEverything = false }: Received,
  replica: string,
): ShadowChange | undefined => {
  const merged = isEverything
    ? takeEverything(before.state, { operations, lost })
    : applyOperations(before.state, operations);
  const collected = collectInCloud(before.state, merged, dead, replica);
  const rest = { ...collected, ...withinLosers(collected.state, mostLosers) };
  if (rest.state === before.state && !(isDeletion && before.exists)) return undefined;
  const { desired, reported } = renderShadow(rest.state).state;
  const holds = desired !== undefined || reported !== undefined;
  // Only what can be seen counts as a version; a deletion that is forgotten does not.
  const isVisible = textOf(rest.state) !== textOf(before.state);
  const shadow = withState(before, rest.state, {
    exists: holds || (before.exists && !isDeletion),
    version: isVisible ? before.version + 1 : before.version,
    held: merged,
  });
  return { shadow, operations: [], dead: rest.dead };
};

/**
 * The same of a gateway that owns its site no more, which it still hands over. The one that owns it now never had that, and is told;
 * what the old one has forgotten says nothing of the new one.
 */
export const mergeHandedOver = (
  before: ShadowReplica,
  received: Received,
  replica: string,
): ShadowChange | undefined => {
  const change = mergeReceived(before, { ...received, dead: [] }, replica);
  return change && { ...change, ...whatIsLeftOf(received.operations, change.shadow.state) };
};

/** Everything that is merged here, for a site that lost it; the older first. */
export const everythingOf = (
  { state }: ShadowReplica,
  replica: string,
): Required<Pick<ShadowChange, 'operations' | 'lost' | 'dead'>> => ({
  ...everythingIn(state),
  dead: deadFromOthers(state, replica),
});

/** All there is here, for a site that told all it has and has something else; after its telling was merged. */
export const answerTo = (
  { operations, lost = [], isEverything = false }: Received,
  after: ShadowReplica,
  replica: string,
): ReturnType<typeof everythingOf> | undefined =>
  isEverything && !isAllOf(after.state, { operations, lost })
    ? everythingOf(after, replica)
    : undefined;

const minted = (
  before: ShadowReplica,
  edits: readonly ShadowEdit[],
  { replica, writer, seen, now }: WriteContext,
) => {
  const operations = mintOperations(before.state, edits, {
    replica,
    writer,
    seen,
    floor: before.time,
    clock: { now, trusted: true },
  });
  const merged = applyOperations(before.state, operations);
  return { operations, ...collectInCloud(before.state, merged, [], replica) };
};

const withState = (
  before: ShadowReplica,
  state: ShadowState,
  {
    version,
    exists,
    held = state,
  }: Pick<ShadowReplica, 'version' | 'exists'> & {
    /** What it was before anything was forgotten: that had its time too. */
    readonly held?: ShadowState;
  },
): ShadowReplica => {
  const latest = latestTime([...held.leaves.values(), ...held.lost.values()]);
  return { version, exists, state, time: laterOf(before.time, latest) };
};

const textOf = (state: ShadowState): string => JSON.stringify(renderShadow(state));
