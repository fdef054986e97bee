/** The least that each end of a shadow must do, without versions, limits or a store: stands for the other end in the tests of each. */
import { deadFromOthers } from './forget-operations.js';
import { type HybridTime, laterOf, zeroTime } from './hybrid-clock.js';
import { type Collected, collectAtSite, collectInCloud } from './shadow-collection.js';
import { editsOf } from './shadow-document.js';
import type { CloudEnd, EndContext, EndOutcome, LaneEntry, ShadowEnd } from './shadow-end.js';
import {
  applyOperations,
  emptyShadow,
  latestTime,
  mintOperations,
  type ShadowEdit,
  type ShadowState,
  type ShadowWriteId,
} from './shadow-merge.js';
import {
  everythingIn,
  isAllOf,
  takeEverything,
  takeLost,
  whatIsLeftOf,
} from './shadow-resupply.js';

export interface ModelledShadow {
  readonly state: ShadowState;
  readonly time: HybridTime;
}

type Collect = (
  before: ShadowState,
  merged: ShadowState,
  told: readonly ShadowWriteId[],
  replica: string,
) => Collected;

const outcomeOf = (
  before: ModelledShadow,
  merged: ShadowState,
  { state, dead }: Collected,
  told: Omit<LaneEntry, 'dead'>,
): EndOutcome<ModelledShadow> => {
  const held = latestTime([...merged.leaves.values(), ...merged.lost.values()]);
  const isTold = told.operations.length + dead.length > 0 || told.isDeletion;
  return {
    shadow: { state, time: laterOf(before.time, held) },
    told: isTold ? { ...told, dead } : undefined,
  };
};

const endOf = (writer: string, collect: Collect): Omit<ShadowEnd<ModelledShadow>, 'everything'> => {
  const mint = (
    before: ModelledShadow,
    edits: readonly ShadowEdit[],
    context: EndContext,
    isDeletion: boolean,
  ): EndOutcome<ModelledShadow> => {
    const minting = { ...context, floor: before.time, writer };
    const operations = mintOperations(before.state, edits, minting);
    const merged = applyOperations(before.state, operations);
    const collected = collect(before.state, merged, [], context.replica);
    return outcomeOf(before, merged, collected, { operations, isDeletion });
  };
  return {
    nothing: { state: emptyShadow, time: zeroTime },
    stateOf: ({ state }) => state,
    timeOf: ({ time }) => time,
    write(before, path, value, context) {
      return mint(before, [value === null ? { path } : { path, value }], context, false);
    },
    remove(before, context) {
      const edits = editsOf(before.state, { desired: null, reported: null });
      return edits.length === 0 ? undefined : mint(before, edits, context, true);
    },
    receive(before, { operations, dead, lost = [], isEverything }, { replica }) {
      const merged = isEverything
        ? takeEverything(before.state, { operations, lost })
        : takeLost(applyOperations(before.state, operations), lost);
      const collected = collect(before.state, merged, dead, replica);
      return outcomeOf(before, merged, collected, { operations: [], isDeletion: false });
    },
  };
};

export const modelSite: ShadowEnd<ModelledShadow> = {
  ...endOf('site', (_, merged, told, replica) => collectAtSite(merged, told, replica)),
  everything: ({ state }) => ({
    ...everythingIn(state),
    ...{ dead: [], isDeletion: false, isEverything: true },
  }),
};

const cloudEnd = endOf('cloud', collectInCloud);

export const modelCloud: CloudEnd<ModelledShadow> = {
  ...cloudEnd,
  receive(before, entry, context) {
    const outcome = cloudEnd.receive(before, entry, context);
    const { operations, lost = [], isEverything = false } = entry;
    const isSame = isAllOf(outcome.shadow.state, { operations, lost });
    if (!isEverything || isSame) return outcome;
    return { ...outcome, told: this.everything(outcome.shadow, context.replica) };
  },
  everything: ({ state }, replica) => ({
    ...everythingIn(state),
    dead: deadFromOthers(state, replica),
    isDeletion: false,
  }),
  receiveHandedOver(before, { operations }, context) {
    const entry = { operations, dead: [], isDeletion: false };
    const { shadow, told } = this.receive(before, entry, context);
    const left = whatIsLeftOf(operations, shadow.state);
    return { shadow, told: { ...left, dead: told?.dead ?? [], isDeletion: false } };
  },
};
