/** How large a shadow may become by what is written here: as at the gateway. What a site wrote is merged whatever its size. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { maxShadowDepth } from '@holdfast/protos/mqtt/shadow-payload';
import {
  editsOf,
  faultOfPatch,
  renderShadow,
  type ShadowPatch,
  sizeOfDocument,
} from '@holdfast/protos/semantics/shadow-document';
import type { ShadowReplica } from './shadow-replica.js';

/** Leaves, and deletions that the site has not confirmed yet. */
const maxLeaves = 1_000;

/** Errors: REQUEST_INVALID. */
export const checkPatch = (patch: ShadowPatch): void => {
  const fault = faultOfPatch(patch, maxShadowDepth);
  if (fault !== undefined) throw new HoldfastError('REQUEST_INVALID', fault);
};

/** Errors: REQUEST_TOO_LARGE. */
export const checkEdits = ({ state }: ShadowReplica, patch: ShadowPatch): void => {
  if (editsOf(state, patch).length > maxLeaves) throw tooLarge(leavesText);
};

/** Who only takes away is let through, or a full shadow could not be emptied. Errors: REQUEST_TOO_LARGE. */
export const checkSize = (
  before: ShadowReplica,
  after: ShadowReplica,
  maxDocumentBytes: number,
): void => {
  const size = sizeOfDocument(renderShadow(after.state).state);
  const isLarger = size > sizeOfDocument(renderShadow(before.state).state);
  if (isLarger && size > maxDocumentBytes) {
    throw tooLarge(`The shadow would have ${size} bytes, ${maxDocumentBytes} are allowed`);
  }
  const { size: leaves } = after.state.leaves;
  if (leaves > maxLeaves && leaves > before.state.leaves.size) throw tooLarge(leavesText);
};

const leavesText = `The shadow would have more than ${maxLeaves} leaves, deletions that its site has not confirmed yet among them`;

const tooLarge = (text: string): HoldfastError => new HoldfastError('REQUEST_TOO_LARGE', text);
