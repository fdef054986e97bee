/** What becomes of a shadow by an event: pure, for every shadow and event. */
import { payloadTooLarge } from '@holdfast/protos/mqtt/shadow-payload';
import { settledBetween, settlementEdit } from '@holdfast/protos/semantics/conflict-settlement';
import { collectAtSite } from '@holdfast/protos/semantics/shadow-collection';
import {
  editsOf,
  faultOfPatch,
  renderShadow,
  shadowSections,
} from '@holdfast/protos/semantics/shadow-document';
import { faultOfEdits, faultOfGrowth } from '@holdfast/protos/semantics/shadow-limits';
import {
  applyOperations,
  conflictsOf,
  keyOf,
  mintOperations,
  type ShadowEdit,
  type ShadowState,
} from '@holdfast/protos/semantics/shadow-merge';
import { decideForget, decideMerge } from './decide-merge.js';
import { conflictIdOf } from './shadow-conflicts.js';
import {
  type ChangedShadow,
  changedTo,
  refused,
  type ShadowContext,
  type ShadowDecision,
  type ShadowEvent,
  type ShadowWriter,
} from './shadow-decision.js';
import { type StoredShadow, withState } from './stored-shadow.js';

export const decideShadow = (
  before: StoredShadow,
  event: ShadowEvent,
  context: ShadowContext,
): ShadowDecision => {
  if (event.type === 'merge') return decideMerge(before, event, context);
  if (event.type === 'forget') return decideForget(before, event.losers);
  if (event.type === 'delete' && !before.exists) {
    return refused(404, `No shadow exists with name: '${context.name}'`);
  }
  if (event.version !== undefined && event.version !== before.version) {
    return refused(409, 'Version conflict');
  }
  if (event.type === 'settle') return decideSettle(before, event, context);
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
  const tooMany = faultOfEdits(edits.length, limits);
  if (tooMany !== undefined) return tooLarge(tooMany);
  return unlessTooLarge(before, minted(before, edits, writer, context), context);
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
  const exists = holds(state);
  return {
    ...changed,
    shadow: withState(before, state, {
      exists,
      version: exists ? before.version + 1 : before.version,
    }),
    isDeletion: true,
  };
};

const decideSettle = (
  before: StoredShadow,
  { writer, path, keep, conflict: wanted }: ShadowEvent & { type: 'settle' },
  context: ShadowContext,
): ShadowDecision => {
  const place = keyOf(path);
  const open = conflictsOf(before.state).filter(
    (conflict) =>
      keyOf(conflict.path) === place &&
      (wanted ?? conflictIdOf(conflict)) === conflictIdOf(conflict),
  );
  const [conflict, ...others] = open;
  if (conflict === undefined) return refused(404, `No conflict is open at ${path.join('.')}`);
  if (others.length > 0) {
    const ids = open.map(conflictIdOf).join(', ');
    return refused(409, `Several conflicts are open at ${path.join('.')}: say which, of ${ids}`);
  }
  const settled = minted(before, [settlementEdit(conflict, keep)], writer, context);
  const { state } = settled.shadow;
  // Who keeps the deletion of a shadow does not make it anew.
  if (!before.exists && !holds(state)) {
    return { ...settled, shadow: withState(before, state, before) };
  }
  return unlessTooLarge(before, settled, context);
};

const minted = (
  before: StoredShadow,
  edits: readonly ShadowEdit[],
  writer: ShadowWriter,
  { replica, seen, clock }: ShadowContext,
): ChangedShadow => {
  const minting = { replica, writer, seen, floor: before.time, clock };
  const operations = mintOperations(before.state, edits, minting);
  const written = applyOperations(before.state, operations);
  const { state, dead } = collectAtSite(written, [], replica);
  const shadow = withState(before, state, { exists: true, version: before.version + 1 });
  const settled = settledBetween(before.state, written, operations);
  return changedTo({ shadow, operations, dead, applied: operations, settled });
};

const holds = (state: ShadowState): boolean => {
  const { desired, reported } = renderShadow(state).state;
  return desired !== undefined || reported !== undefined;
};

const sectionsOf = (writer: ShadowWriter): readonly ('desired' | 'reported')[] =>
  writer.startsWith('device:') ? shadowSections : ['desired'];

const unlessTooLarge = (
  before: StoredShadow,
  changed: ChangedShadow,
  { limits }: ShadowContext,
): ShadowDecision => {
  const fault = faultOfGrowth(before.state, changed.shadow.state, limits);
  return fault === undefined ? changed : tooLarge(fault);
};

const tooLarge = (fault: string): ShadowDecision => refused(413, `${payloadTooLarge}: ${fault}`);
