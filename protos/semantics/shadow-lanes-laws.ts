/**
 * The laws of a shadow between its two ends: replicas with a lane each way, tombstones that are collected, a site that loses its
 * database and begins anew under another name. For tests, which bring the ends: each its own, and a model for the other.
 */
import fc from 'fast-check';
import { compareTimes } from './hybrid-clock.js';
import { isAlong } from './path-index.js';
import { renderShadow } from './shadow-document.js';
import type { CloudEnd, ShadowEnd } from './shadow-end.js';
import { type Acknowledged, type Run, run, World } from './shadow-lanes-world.js';
import { conflictsOf, idOf, keyOf, type ShadowState } from './shadow-merge.js';

const faultsOf = <C, S>(
  cloud: CloudEnd<C>,
  site: ShadowEnd<S>,
  { steps, ...settings }: Run,
): string[] => {
  const { skewsMs } = settings;
  const isRestored = steps.some((action) => action.do === 'restore');
  // The name of a control plane stays when it is restored: that its clock is not behind keeps its times apart.
  const latest = Math.min(skewsMs.site, skewsMs.cloud);
  const clocks = isRestored ? { ...settings, skewsMs: { ...skewsMs, site: latest } } : settings;
  const world = new World(cloud, site, clocks);
  for (const action of steps) world.step(action);
  world.settle();
  const states = world.states();
  const faults = [...divergences(states), ...remains(states)];
  for (const [end, state] of Object.entries(states)) {
    faults.push(...losses(state, world).map((fault) => `${end}: ${fault}`));
  }
  // However wild the clocks were, who writes knowing what there is wins, and both ends see it.
  for (const [at, value] of [
    ['site', -1],
    ['cloud', -2],
  ] as const) {
    world.writeLast(at, ['desired', 'a'], value);
    world.settle();
    for (const [end, { leaves }] of Object.entries(world.states())) {
      const shown = leaves.get(keyOf(['desired', 'a']))?.value;
      if (shown !== value) faults.push(`${end} shows ${shown} after ${at} wrote ${value} last`);
    }
  }
  return faults;
};

const divergences = ({ cloud, site }: { cloud: ShadowState; site: ShadowState }): string[] => {
  const [a, b] = [cloud, site].map((state) => JSON.stringify(renderShadow(state)));
  return a === b ? [] : [`the ends differ: ${a} | ${b}`];
};

const remains = (states: Readonly<Record<string, ShadowState>>): string[] =>
  Object.entries(states).flatMap(([end, { leaves }]) =>
    [...leaves.values()]
      .filter(({ value }) => value === undefined)
      .map((leaf) => `${end} keeps the deletion ${idOf(leaf)} for ever`),
  );

/** A write is visible, or in conflict, or somebody who had seen it wrote there since. What shows below a deletion is newer. */
const losses = (
  state: ShadowState,
  {
    written,
    handedOver,
    undone,
  }: Pick<World<unknown, unknown>, 'written' | 'handedOver' | 'undone'>,
): string[] => {
  const leaves = new Map([...state.leaves.values()].map((leaf) => [idOf(leaf), leaf]));
  const conflicts = new Set(conflictsOf(state).map(({ loser }) => idOf(loser)));
  return written.flatMap(({ operation, turn }) => {
    const id = idOf(operation);
    if (conflicts.has(id)) return [];
    const isSeen = written.some(
      (later) =>
        // By its name a replica has seen what it wrote before, also what it does not have since it was restored.
        (later.knew.has(id) || isLaterOfSame(later, { operation, turn })) &&
        isAlong(later.operation.path, operation.path),
    );
    if (isSeen) return [];
    if (operation.value !== undefined) return leaves.has(id) ? [] : [`${id} is lost`];
    if (undone.has(id)) return [];
    return written
      .filter((other) => {
        const { path, stamp } = other.operation;
        if (!leaves.has(idOf(other.operation)) || !isAlong(path, operation.path)) return false;
        // A replica that began since may not have heard of it, nor does it come too late from one that is gone.
        if (other.since > turn || handedOver.has(idOf(other.operation))) return false;
        return compareTimes(stamp, operation.stamp) < 0;
      })
      .map((other) => `${idOf(other.operation)} came back though it was deleted by ${id}`);
  });
};

const isLaterOfSame = (
  later: Pick<Acknowledged, 'operation' | 'turn'>,
  { operation, turn }: Pick<Acknowledged, 'operation' | 'turn'>,
): boolean => later.turn > turn && later.operation.stamp.replica === operation.stamp.replica;

/** Throws with the seed and the smallest run that breaks a law. */
export const checkLaneLaws = <C, S>(
  cloud: CloudEnd<C>,
  site: ShadowEnd<S>,
  { numRuns, seed }: { readonly numRuns: number; readonly seed: number },
): void => {
  fc.assert(
    fc.property(run, (given) => {
      const faults = faultsOf(cloud, site, given);
      if (faults.length > 0) throw new Error(faults.join('\n'));
    }),
    { numRuns, seed },
  );
};
