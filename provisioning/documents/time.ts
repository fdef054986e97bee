/** What time it is, signed: the control plane's answer to a question of one gateway. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import { verifyChain } from '../pki/verify.js';
import {
  type DocumentSigner,
  type SignatureTrust,
  signDocument,
  verifyDocument,
} from './signature.js';

const schema = v.object({
  site: v.string(),
  /** Hexadecimal. */
  nonce: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
  /** Epoch ms. */
  time: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(8.64e15)),
});
export type SignedTime = v.InferOutput<typeof schema>;

export const signTime = (signer: DocumentSigner, time: SignedTime): Promise<string> =>
  signDocument(signer, 'holdfast-time', time);

/**
 * Epoch ms. The signer's certificate has to be valid at the very time that it says: our own clock is what is in question. Errors:
 * TIME_REFUSED for a bad signature, and for an answer to another question or another site.
 */
export const verifyTime = async (
  jws: string,
  trust: Omit<SignatureTrust, 'at'>,
  asked: Pick<SignedTime, 'site' | 'nonce'>,
): Promise<number> => {
  const { payload, signer } = await verifyDocument(
    jws,
    'holdfast-time',
    { ...trust, at: 'unchecked' },
    'TIME_REFUSED',
  );
  const parsed = v.safeParse(schema, payload);
  if (!parsed.success) throw refuse('it is malformed');
  const { site, nonce, time } = parsed.output;
  if (site !== asked.site || nonce !== asked.nonce) throw refuse('it answers another question');
  const verdict = verifyChain({ ...trust, certificate: signer, role: 'plan-signer', at: time });
  if (verdict.refused !== undefined) throw refuse(`its signer at that time: ${verdict.message}`);
  return time;
};

const refuse = (why: string) =>
  new HoldfastError('TIME_REFUSED', `The signed time is refused: ${why}`);
