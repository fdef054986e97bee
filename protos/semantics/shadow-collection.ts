/**
 * How deletions are forgotten: by the site at once, since whatever the control plane sends it later was written knowing them; by the
 * control plane when the site that it has now says so, in its lane, since until then writes may be under way that did not know them.
 * So also a site that lost its database, and has another name since, brings nothing back. Pure, for both ends.
 */
import { collectDead, deadFromOthers } from './forget-operations.js';
import { idOf, keyOf, type ShadowState, type ShadowWriteId } from './shadow-merge.js';

export interface Collected {
  readonly state: ShadowState;
  /** What the other end is to be told is dead here. */
  readonly dead: readonly ShadowWriteId[];
}

/** The site's part after a change. `told` is what the control plane said is dead there: it hears once that it is gone here too. */
export const collectAtSite = (
  merged: ShadowState,
  told: readonly ShadowWriteId[],
  replica: string,
): Collected => {
  const rest = collectDead(merged, told);
  const dead = deadFromOthers(rest, replica);
  const gone = told.filter((id) => {
    const leaf = rest.leaves.get(keyOf(id.path));
    return leaf === undefined || idOf(leaf) !== idOf(id);
  });
  return { state: collectDead(rest, dead), dead: [...dead, ...gone] };
};

/** The control plane's part after a change of its own, or after what it heard, with `told` by the gateway that owns the site. */
export const collectInCloud = (
  before: ShadowState,
  merged: ShadowState,
  told: readonly ShadowWriteId[],
  replica: string,
): Collected => {
  const state = collectDead(merged, told);
  const known = new Set(deadFromOthers(before, replica).map(idOf));
  return { state, dead: deadFromOthers(state, replica).filter((id) => !known.has(idOf(id))) };
};
