/** How large a shadow may become by a write, at the site and in the cloud alike. What the other end wrote is merged whatever its size. */
import { maxShadowDepth } from '../mqtt/shadow-payload.js';
import { renderShadow, shadowBytes, sizeOfDocument } from './shadow-document.js';
import type { ShadowState } from './shadow-merge.js';

export interface ShadowLimits {
  /** Both sections as JSON, without metadata. */
  readonly maxDocumentBytes: number;
  readonly maxDepth: number;
  /** Leaves, and deletions that the other end has not confirmed yet. */
  readonly maxLeaves: number;
}

export const defaultShadowLimits: ShadowLimits = {
  maxDocumentBytes: shadowBytes.default,
  maxDepth: maxShadowDepth,
  maxLeaves: 1_000,
};

/**
 * Why a shadow may not become what a write makes of it, in words for the one who wrote; undefined when it may. Who only takes away is let
 * through, or a full shadow could not be emptied.
 */
export const faultOfGrowth = (
  before: ShadowState,
  after: ShadowState,
  { maxDocumentBytes, maxLeaves }: ShadowLimits,
): string | undefined => {
  const size = sizeOfDocument(renderShadow(after).state);
  if (size > maxDocumentBytes && size > sizeOfDocument(renderShadow(before).state)) {
    return `The shadow would have ${size} bytes, ${maxDocumentBytes} are allowed`;
  }
  const isLarger = after.leaves.size > before.leaves.size;
  return isLarger && after.leaves.size > maxLeaves ? tooManyLeaves(maxLeaves) : undefined;
};

/** The same of a write by the number of its edits alone, before any is made. */
export const faultOfEdits = (edits: number, { maxLeaves }: ShadowLimits): string | undefined =>
  edits > maxLeaves ? tooManyLeaves(maxLeaves) : undefined;

/** What lost in one shadow and is kept: the oldest go, those first whose conflicts are over. */
export const mostLosers = 1_000;

const tooManyLeaves = (maxLeaves: number): string =>
  `The shadow would have more than ${maxLeaves} leaves, deletions that are not confirmed yet among them`;
