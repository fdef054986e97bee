import {
  maxShadowDepth,
  payloadTooLarge,
  type ShadowErrorCode,
} from '@holdfast/protos/mqtt/shadow-payload';
import { collectDead, deadFromOthers } from '@holdfast/protos/semantics/forget-operations';
import type { ClockReading, HybridTime } from '@holdfast/protos/semantics/hybrid-clock';
import {
  editsOf,
  faultOfPatch,
  renderShadow,
  type ShadowPatch,
  shadowBytes,
  shadowSections,
  sizeOfDocument,
} from '@holdfast/protos/semantics/shadow-document';
import {
  applyOperations,
  mintOperations,
  type ShadowEdit,
  type ShadowOperation,
  type ShadowState,
  type ShadowWriteId,
} from '@holdfast/protos/semantics/shadow-merge';
import { type StoredShadow, withState } from './stored-shadow.js';

/** `device:<id>` writes both sections, `site:<person>` and `cloud` write `desired` alone. */
export type ShadowWriter = `device:${string}` | `site:${string}` | 'cloud';

export type ShadowEvent =
  | {
      readonly type: 'update';
      readonly writer: ShadowWriter;
      /** null empties both sections (a writer other than the device: the one it may write). */
      readonly patch: ShadowPatch | null;
      /** The update is refused unless this is the version. */
      readonly version?: number;
    }
  | { readonly type: 'delete'; readonly writer: ShadowWriter; readonly version?: number }
  /** What the control plane wrote, and which of ours it has merged and done with. */
  | {
      readonly type: 'merge';
      readonly operations: readonly ShadowOperation[];
      readonly dead: readonly ShadowWriteId[];
      /** Whether it deleted the shadow as a whole. */
      readonly isDeletion?: boolean;
    };

export interface ShadowLimits {
  /** Both sections as JSON, without metadata. AWS IoT: 8 KB, raisable to 30. */
  readonly maxDocumentBytes: number;
  readonly maxDepth: number;
  /** Leaves and deletions that the control plane has not confirmed yet. */
  readonly maxLeaves: number;
}

export const defaultShadowLimits: ShadowLimits = {
  maxDocumentBytes: shadowBytes.default,
  maxDepth: maxShadowDepth,
  maxLeaves: 1_000,
};

export interface ShadowContext {
  readonly name: string;
  readonly replica: string;
  readonly seen: HybridTime;
  readonly clock: ClockReading;
  readonly limits: ShadowLimits;
}

export type ShadowDecision =
  | { readonly kind: 'refused'; readonly code: ShadowErrorCode; readonly message: string }
  /** What came was known already: nothing to store, nobody to tell. */
  | { readonly kind: 'unchanged' }
  | {
      readonly kind: 'changed';
      readonly shadow: StoredShadow;
      /** What was minted here, to be told to the control plane. */
      readonly operations: readonly ShadowOperation[];
      /** What is told to it besides: operations of its own that hold nothing here any more. */
      readonly dead: readonly ShadowWriteId[];
      readonly isDeletion: boolean;
    };

/** What becomes of a shadow by an event: pure, for every shadow and event. */
export const decideShadow = (
  before: StoredShadow,
  event: ShadowEvent,
  context: ShadowContext,
): ShadowDecision => {
  if (event.type === 'merge') return decideMerge(before, event, context);
  if (event.type === 'delete' && !before.exists) {
    return refused(404, `No shadow exists with name: '${context.name}'`);
  }
  if (event.version !== undefined && event.version !== before.version) {
    return refused(409, 'Version conflict');
  }
  return event.type === 'update'
    ? decideUpdate(before, event, context)
    : decideDelete(before, event.writer, context);
};

const decideUpdate = (
  before: StoredShadow,
  { writer, patch }: ShadowEvent & { type: 'update' },
  context: ShadowContext,
): ShadowDecision => {
  const { limits } = context;
  const own = sectionsOf(writer);
  const sections = patch ?? Object.fromEntries(own.map((section) => [section, null]));
  if (sections.reported !== undefined && !own.includes('reported')) {
    return refused(403, 'reported is written by the device alone');
  }
  const fault = faultOfPatch(sections, limits.maxDepth);
  if (fault !== undefined) return refused(400, fault);
  const edits = editsOf(before.state, sections);
  if (edits.length > limits.maxLeaves) return refused(413, tooManyLeaves(limits));
  const changed = minted(before, edits, writer, context);
  const size = sizeOfDocument(renderShadow(changed.shadow.state).state);
  if (size > limits.maxDocumentBytes) {
    return refused(
      413,
      `${payloadTooLarge}: the shadow would have ${size} bytes, ${limits.maxDocumentBytes} are allowed`,
    );
  }
  // Whoever only takes away is let through, or a full shadow could not be emptied.
  const grows = changed.shadow.state.leaves.size > before.state.leaves.size;
  if (grows && changed.shadow.state.leaves.size > limits.maxLeaves) {
    return refused(413, tooManyLeaves(limits));
  }
  return changed;
};

const decideDelete = (
  before: StoredShadow,
  writer: ShadowWriter,
  context: ShadowContext,
): ShadowDecision => {
  const patch = Object.fromEntries(sectionsOf(writer).map((section) => [section, null]));
  const changed = minted(before, editsOf(before.state, patch), writer, context);
  // A deletion is no version of its own (AWS IoT): the next is that of whatever is written next.
  const { state } = changed.shadow;
  const remains = renderShadow(state).state;
  const exists = remains.desired !== undefined || remains.reported !== undefined;
  return {
    ...changed,
    shadow: withState(before, state, {
      exists,
      version: exists ? before.version + 1 : before.version,
    }),
    isDeletion: true,
  };
};

const decideMerge = (
  before: StoredShadow,
  { operations, dead, isDeletion = false }: ShadowEvent & { type: 'merge' },
  { replica }: ShadowContext,
): ShadowDecision => {
  const merged = collectDead(applyOperations(before.state, operations), dead);
  if (merged === before.state && !(isDeletion && before.exists)) return { kind: 'unchanged' };
  const { state, dead: theirs } = forgotten(merged, replica);
  const { desired, reported } = renderShadow(state).state;
  const holds = desired !== undefined || reported !== undefined;
  // Only what is visible counts as a version; a deletion that is forgotten does not.
  const isVisible = visibleText(state) !== visibleText(before.state);
  return {
    kind: 'changed',
    shadow: withState(before, state, {
      exists: holds || (before.exists && !isDeletion),
      version: isVisible ? before.version + 1 : before.version,
    }),
    operations: [],
    dead: theirs,
    isDeletion: false,
  };
};

const minted = (
  before: StoredShadow,
  edits: readonly ShadowEdit[],
  writer: ShadowWriter,
  { replica, seen, clock }: ShadowContext,
): ShadowDecision & { kind: 'changed' } => {
  const operations = mintOperations(before.state, edits, { replica, writer, seen, clock });
  const { state, dead } = forgotten(applyOperations(before.state, operations), replica);
  const shadow = withState(before, state, { exists: true, version: before.version + 1 });
  return { kind: 'changed', shadow, operations, dead, isDeletion: false };
};

/** There are two replicas, and the lanes between them are in order: what the other minted may be forgotten here at once. */
const forgotten = (
  state: ShadowState,
  replica: string,
): { readonly state: ShadowState; readonly dead: readonly ShadowWriteId[] } => {
  const dead = deadFromOthers(state, replica);
  return { state: collectDead(state, dead), dead };
};

const sectionsOf = (writer: ShadowWriter): readonly ('desired' | 'reported')[] =>
  writer.startsWith('device:') ? shadowSections : ['desired'];

const visibleText = (state: ShadowState): string => JSON.stringify(renderShadow(state));

const tooManyLeaves = ({ maxLeaves }: ShadowLimits): string =>
  `${payloadTooLarge}: the shadow would have more than ${maxLeaves} leaves, deletions that are not confirmed yet among them`;

const refused = (code: ShadowErrorCode, message: string): ShadowDecision => ({
  kind: 'refused',
  code,
  message,
});
