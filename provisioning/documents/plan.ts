/** The plan on its way: its head signed and verified, its documents hashed and checked (DESIGN.md, "Plan"). */
import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type DocumentReference,
  type PlanDocument,
  type PlanHead,
  planDocument,
  planHead,
} from '@holdfast/protos/link/plan-documents';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import * as v from 'valibot';
import {
  type DocumentSigner,
  type SignatureTrust,
  signDocument,
  verifyDocument,
} from './signature.js';

/** A head whose signature was found good; nothing is said yet of its site and its place among others: see decidePlan. */
export interface VerifiedPlanHead {
  readonly head: PlanHead;
  /** SHA-256 of the head's bytes in hexadecimal. */
  readonly sha256: string;
}

export const signPlanHead = (signer: DocumentSigner, head: PlanHead): Promise<string> =>
  signDocument(signer, 'holdfast-plan', head);

/** Errors: PLAN_SIGNATURE_INVALID, PLAN_HEAD_INVALID. */
export const verifyPlanHead = async (
  jws: string,
  trust: SignatureTrust,
): Promise<VerifiedPlanHead> => {
  const { payload, sha256 } = await verifyDocument(
    jws,
    'holdfast-plan',
    trust,
    'PLAN_SIGNATURE_INVALID',
  );
  const parsed = v.safeParse(planHead, payload);
  if (!parsed.success) {
    throw new HoldfastError('PLAN_HEAD_INVALID', `The head of the plan: ${whyNot(parsed.issues)}`);
  }
  return { head: parsed.output, sha256 };
};

/** The bytes of a document, as they are stored, sent and hashed. */
export const writePlanDocument = (document: PlanDocument): Buffer =>
  Buffer.from(canonicalJson(document));

/** What the head says of this document. */
export const referenceTo = (document: PlanDocument): DocumentReference => ({
  kind: document.kind,
  id: document.id,
  revision: document.revision,
  sha256: sha256Of(writePlanDocument(document)),
});

/** Reads a document that a head names. Errors: PLAN_DOCUMENT_INVALID when it is another one, damaged or malformed. */
export const readPlanDocument = (
  bytes: Uint8Array,
  { kind, id, revision, sha256 }: DocumentReference,
): PlanDocument => {
  const refuse = (why: string, cause?: unknown) =>
    new HoldfastError('PLAN_DOCUMENT_INVALID', `Document ${kind}/${id} of the plan ${why}`, {
      cause,
    });
  if (sha256Of(bytes) !== sha256) throw refuse('is not the one that the head names');
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw refuse('is no JSON', error);
  }
  const parsed = v.safeParse(planDocument, json);
  if (!parsed.success) throw refuse(`is malformed: ${whyNot(parsed.issues)}`);
  const document = parsed.output;
  if (document.kind !== kind || document.id !== id || document.revision !== revision) {
    throw refuse('calls itself something else');
  }
  return document;
};

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const whyNot = ([issue]: readonly v.BaseIssue<unknown>[]): string =>
  issue === undefined ? 'it is malformed' : `${v.getDotPath(issue) ?? 'it'}: ${issue.message}`;
