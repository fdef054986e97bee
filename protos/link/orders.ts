/**
 * The orders of the down lane: desired edits and commands. They are numbered by the control plane's log, signed batch by batch, and
 * acknowledged after the site's commit. The effect and the position are committed together, so an order takes effect once.
 */
import * as v from 'valibot';

const id = v.pipe(v.string(), v.minLength(1), v.maxLength(256));

export const orderBodies = {
  /**
   * Leaves of `desired` that were written in the cloud, and of `reported` that were deleted there: operations of
   * protos/semantics/shadow-merge.
   */
  shadow: v.object({
    device: id,
    shadow: v.string(),
    operations: v.array(v.unknown()),
    /** Operations of a site that hold no value in the cloud any more; the site answers when it has forgotten them. */
    dead: v.optional(v.array(v.unknown())),
    /** Operations that are superseded, by what may be forgotten since: conflicts (protos/semantics/shadow-resupply). */
    lost: v.optional(v.array(v.unknown())),
    /** Whether these operations deleted the shadow as a whole. */
    deleted: v.optional(v.boolean()),
  }),
  /**
   * Everything that the control plane has of the site's shadows is in the orders before this one, since it met a site that had carried
   * out others than it knows of: it may have been restored. The site tells everything that it has in turn.
   */
  resupplied: v.object({}),
  command: v.object({
    device: id,
    command: id,
    type: id,
    payload: v.unknown(),
    expires_at: v.pipe(v.number(), v.safeInteger()),
  }),
} as const;

export const order = v.variant('kind', [
  v.object({ seq: v.number(), kind: v.literal('shadow'), body: orderBodies.shadow }),
  v.object({ seq: v.number(), kind: v.literal('command'), body: orderBodies.command }),
  v.object({ seq: v.number(), kind: v.literal('resupplied'), body: orderBodies.resupplied }),
]);
export type Order = v.InferOutput<typeof order>;

/** The payload of a batch's JWS. */
export const orderBatch = v.object({
  site: id,
  log: v.string(),
  first_seq: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  /** The hash chain before the first (protos/semantics/journal-chain), hexadecimal; empty at the beginning of the log. */
  previous_chain: v.pipe(v.string(), v.regex(/^([0-9a-f]{64})?$/)),
  orders: v.pipe(v.array(order), v.minLength(1)),
});
export type OrderBatchPayload = v.InferOutput<typeof orderBatch>;
