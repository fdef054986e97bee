/**
 * The laws of the merge as a property over runs of three replicas; for the tests beside it, which differ in how many
 * runs they make.
 */
import fc from 'fast-check';
import { renderShadow } from './shadow-document.js';
import {
  applyOperations,
  conflictsOf,
  emptyShadow,
  idOf,
  latestTime,
  mintOperations,
  type ShadowOperation,
  type ShadowState,
} from './shadow-merge.js';

const replicas = ['cloud', 'site', 'third'] as const;

/** A tree small enough that writes meet: sections, branches that are leaves at times, leaves below them. */
const paths = [
  ['desired'],
  ['desired', 'a'],
  ['desired', 'a', 'x'],
  ['desired', 'a', 'y'],
  ['desired', 'a', 'y', 'z'],
  ['desired', 'b'],
  ['reported', 'a'],
];

type Step =
  | {
      readonly kind: 'write';
      readonly at: number;
      readonly path: number;
      readonly deletes: boolean;
    }
  | { readonly kind: 'deliver'; readonly to: number; readonly pick: number }
  | { readonly kind: 'catch_up'; readonly to: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('write' as const),
    at: fc.nat(2),
    path: fc.nat(paths.length - 1),
    deletes: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('deliver' as const), to: fc.nat(2), pick: fc.nat() }),
  fc.record({ kind: fc.constant('catch_up' as const), to: fc.nat(2) }),
);

const run = fc.record({
  steps: fc.array(step, { maxLength: 30, size: 'max' }),
  /** One clock is right, one is far off either way, none or all of them trusted. */
  skewsMs: fc.tuple(fc.constant(0), fc.integer({ min: -5, max: 5 }), fc.constantFrom(-1e9, 0, 1e9)),
  trusted: fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()),
  /** Whether a replica gets only what it has the causes of. */
  causal: fc.boolean(),
  /** The order in which everything is delivered in the end, again to who has it. */
  shuffle: fc.array(fc.nat(), { minLength: 90, maxLength: 90 }),
});

interface Written {
  readonly operation: ShadowOperation;
  /** Ids of what its replica had then: the truth that `over` must tell. */
  readonly seen: ReadonlySet<string>;
}

interface Replica {
  state: ShadowState;
  readonly has: Set<string>;
}

/** Runs the steps and everything's delivery, and returns what is wrong with the outcome. */
const faultsOf = ({ steps, skewsMs, trusted, causal, shuffle }: RunOf<typeof run>): string[] => {
  const all: Written[] = [];
  const nodes: Replica[] = replicas.map(() => ({ state: emptyShadow, has: new Set() }));
  const deliver = (node: Replica | undefined, written: Written | undefined): boolean => {
    if (node === undefined || written === undefined) return false;
    if (causal && ![...written.seen].every((id) => node.has.has(id))) return false;
    node.state = applyOperations(node.state, [written.operation]);
    node.has.add(idOf(written.operation));
    return true;
  };
  for (const [turn, action] of steps.entries()) {
    if (action.kind === 'deliver') {
      deliver(nodes[action.to], all[action.pick % Math.max(1, all.length)]);
      continue;
    }
    if (action.kind === 'catch_up') {
      for (const written of all) deliver(nodes[action.to], written);
      continue;
    }
    const node = nodes[action.at];
    const path = paths[action.path];
    const replica = replicas[action.at];
    if (node === undefined || path === undefined || replica === undefined) continue;
    const [operation] = mintOperations(
      node.state,
      [action.deletes ? { path } : { path, value: turn }],
      {
        replica,
        writer: `writer of ${replica}`,
        seen: latestTime(
          all.filter((w) => node.has.has(idOf(w.operation))).map((w) => w.operation),
        ),
        clock: {
          now: 1e12 + turn + (skewsMs[action.at] ?? 0),
          trusted: trusted[action.at] ?? true,
        },
      },
    );
    if (operation === undefined) continue;
    const written = { operation, seen: new Set(node.has) };
    all.push(written);
    deliver(node, written);
  }
  settle(nodes, all, shuffle, deliver);
  return [...divergences(nodes, causal), ...nodes.flatMap((node) => losses(node, all, causal))];
};

type RunOf<A> = A extends fc.Arbitrary<infer R> ? R : never;

/** Everything to everyone, in an order of its own for each, until nobody lacks anything. */
const settle = (
  nodes: readonly Replica[],
  all: readonly Written[],
  shuffle: readonly number[],
  deliver: (node: Replica, written: Written) => boolean,
): void => {
  for (const [turn, node] of nodes.entries()) {
    const rank = (index: number): number => shuffle[(index + turn * 30) % shuffle.length] ?? 0;
    const order = [...all.keys()].sort((a, b) => rank(a) - rank(b));
    for (let round = 0; round <= all.length; round += 1) {
      let isComplete = true;
      for (const index of order) {
        const written = all[index];
        if (written && !deliver(node, written)) isComplete = false;
      }
      if (isComplete) break;
    }
  }
};

const divergences = (nodes: readonly Replica[], causal: boolean): string[] => {
  const views = nodes.map(({ state }) =>
    JSON.stringify([
      renderShadow(state),
      [...state.leaves.values()].map((leaf) => [idOf(leaf), leaf.value]).sort(),
      causal
        ? conflictsOf(state)
            .map((conflict) => idOf(conflict.loser))
            .sort()
        : [],
    ]),
  );
  return views.every((view) => view === views[0]) ? [] : [`replicas differ: ${views.join(' | ')}`];
};

const losses = ({ state }: Replica, all: readonly Written[], causal: boolean): string[] => {
  const leaves = [...state.leaves.values()];
  const visible = new Set(leaves.filter((leaf) => hasEffect(leaf, leaves)).map(idOf));
  const shown = new Map(conflictsOf(state).map((c) => [idOf(c.loser), c.loser.value] as const));
  return all.flatMap(({ operation }) => {
    const id = idOf(operation);
    const isSeen = all.some(
      (later) => later.seen.has(id) && isAlong(later.operation.path, operation.path),
    );
    if (!visible.has(id) && !isSeen && !shown.has(id)) return [`${id} is lost`];
    if (shown.has(id) && shown.get(id) !== operation.value) return [`${id} has lost its value`];
    if (causal && shown.has(id) && isSeen) return [`${id} was overwritten knowingly`];
    if (shown.has(id) && visible.has(id)) return [`${id} is visible and in conflict`];
    return [];
  });
};

/** A deletion takes effect where nothing newer stands about it; a value is only kept where that is so. */
const hasEffect = (leaf: ShadowOperation, leaves: readonly ShadowOperation[]): boolean =>
  leaf.value !== undefined ||
  !leaves.some((other) => isAlong(other.path, leaf.path) && rankOf(other) > rankOf(leaf));

const rankOf = ({ stamp }: ShadowOperation): string =>
  [stamp.wall, stamp.counter].map((n) => String(n).padStart(16, '0')).join() + stamp.writer;

const isAlong = (a: readonly string[], b: readonly string[]): boolean =>
  a.slice(0, b.length).join('/') === b.slice(0, a.length).join('/');

/** Throws with the seed and the smallest run that breaks a law. */
export const checkMergeLaws = (numRuns: number, seed: number): void => {
  fc.assert(
    fc.property(run, (given) => {
      const faults = faultsOf(given);
      if (faults.length > 0) throw new Error(faults.join('\n'));
    }),
    { numRuns, seed },
  );
};
