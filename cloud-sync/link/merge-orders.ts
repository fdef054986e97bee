/** Two orders of one shadow as one, so that a site which was away gets what came of them and not how. Pure. */
import type { orderBodies } from '@holdfast/protos/link/orders';
import { compactOperations } from '@holdfast/protos/semantics/compact-operations';
import { parseShadowOperations } from '@holdfast/protos/semantics/shadow-operation-schema';
import type * as v from 'valibot';

export type ShadowOrder = v.InferOutput<typeof orderBodies.shadow>;

/** Operations of one order at most. */
const mostOperations = 500;

/** Undefined where they have to stay two: what an order lets a site forget is forgotten before what comes after it is merged. */
export const mergeOrders = (earlier: ShadowOrder, later: ShadowOrder): ShadowOrder | undefined => {
  if (holdsMore(earlier) || later.lost !== undefined) return undefined;
  const operations = compactOperations([
    ...parseShadowOperations(earlier.operations),
    ...parseShadowOperations(later.operations),
  ]);
  if (operations.length > mostOperations) return undefined;
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
