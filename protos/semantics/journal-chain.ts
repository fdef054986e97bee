/**
 * The hash chain of a lane of the journal (DESIGN.md, "Journal"), and of the lane of orders: one wrong, missing or changed entry changes every link after it,
 * so two ends that agree on the last link agree on everything before.
 */
import { createHash } from 'node:crypto';
import type { LaneName } from '../link/journal-entries.js';

/** The chain before the first entry of a log. */
export const chainStart: Uint8Array = new Uint8Array(0);

/** An entry whose body is canonical JSON already: it is stored so, and hashed without being parsed. */
export interface ChainedEntry {
  readonly seq: number;
  readonly kind: string;
  readonly body: string;
}

/**
 * The chain after more entries: for each SHA-256 of (previous ‖ lane ‖ NUL ‖ seq in decimal ‖ NUL ‖ kind ‖ NUL ‖ canonical body). None
 * of lane, seq and kind holds a NUL, so no two entries hash the same bytes.
 */
export const chainAfter = (
  previous: Uint8Array,
  lane: LaneName | 'orders',
  entries: Iterable<ChainedEntry>,
): Uint8Array => {
  let chain = previous;
  for (const { seq, kind, body } of entries) {
    chain = createHash('sha256').update(chain).update(`${lane}\0${seq}\0${kind}\0${body}`).digest();
  }
  return chain;
};
