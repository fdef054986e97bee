/** Two orders of one shadow as one, so that a site which was away gets what came of them and not how. Pure. */
import type { orderBodies } from '@holdfast/protos/link/orders';
import { compactOperations } from '@holdfast/protos/semantics/compact-operations';
import { parseShadowOperations } from '@holdfast/protos/semantics/shadow-operation-schema';
import type * as v from 'valibot';

export type ShadowOrder = v.InferOutput<typeof orderBodies.shadow>;

/** Operations of one order at most. */
const mostOperations = 500;
/** Of them as JSON, unless one alone is larger: a gateway takes no message of any size. */
const mostOperationBytes = 128 * 1024;

/** Undefined where they have to stay two: what an order lets a site forget is forgotten before what comes after it is merged. */
export const mergeOrders = (earlier: ShadowOrder, later: ShadowOrder): ShadowOrder | undefined => {
  if (holdsMore(earlier) || later.lost !== undefined) return undefined;
  const operations = compactOperations([
    ...parseShadowOperations(earlier.operations),
    ...parseShadowOperations(later.operations),
  ]);
  if (operations.length > mostOperations || bytesOf(operations) > mostOperationBytes) {
    return undefined;
  }
  // Whatever is written after a deletion makes the shadow anew.
  const isDeleted =
    later.operations.length > 0 ? later.deleted : (later.deleted ?? earlier.deleted);
  return {
    device: later.device,
    shadow: later.shadow,
    operations,
    ...(later.dead === undefined ? {} : { dead: later.dead }),
    ...(isDeleted === true ? { deleted: true } : {}),
  };
};

const holdsMore = ({ dead, lost }: ShadowOrder): boolean =>
  dead !== undefined || lost !== undefined;

const bytesOf = (operations: readonly unknown[]): number =>
  Buffer.byteLength(JSON.stringify(operations));

/** What may be too much for one order, in pieces. */
export const orderParts = <T>(
  all: readonly T[],
  { bytes: mostBytes = mostOperationBytes, count: mostCount = mostOperations } = {},
): T[][] => {
  const parts: T[][] = [];
  let bytes = 0;
  for (const one of all) {
    const size = bytesOf([one]);
    const part = parts.at(-1);
    if (part && part.length < mostCount && bytes + size <= mostBytes) {
      part.push(one);
      bytes += size;
    } else {
      parts.push([one]);
      bytes = size;
    }
  }
  return parts;
};
