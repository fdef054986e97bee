/** Batches of orders (desired edits and commands), each signed as one. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type OrderBatchPayload, orderBatch } from '@holdfast/protos/link/orders';
import * as v from 'valibot';
import {
  type DocumentSigner,
  type SignatureTrust,
  signDocument,
  verifyDocument,
} from './signature.js';

export const signOrders = (signer: DocumentSigner, batch: OrderBatchPayload): Promise<string> =>
  signDocument(signer, 'holdfast-orders', batch);

/** Errors: ORDERS_REFUSED for a bad signature, another site's batch, a malformed one, and one with a hole in its numbers. */
export const verifyOrders = async (
  jws: string,
  { site, ...trust }: SignatureTrust & { readonly site: string },
): Promise<OrderBatchPayload> => {
  const { payload } = await verifyDocument(jws, 'holdfast-orders', trust, 'ORDERS_REFUSED');
  const parsed = v.safeParse(orderBatch, payload);
  if (!parsed.success) throw refuse(`malformed: ${v.summarize(parsed.issues)}`);
  const batch = parsed.output;
  if (batch.site !== site) throw refuse(`for the site ${batch.site}`);
  if (batch.orders.some(({ seq }, i) => seq !== batch.first_seq + i)) {
    throw refuse('not numbered one after the other');
  }
  return batch;
};

const refuse = (what: string) =>
  new HoldfastError('ORDERS_REFUSED', `The batch of orders is refused: it is ${what}`);
