import * as v from 'valibot';
import { reasonOf } from './json-payload.js';

/** The `document` of an execution on the jobs topics that updates the firmware. The job's id is the campaign's. */
export interface UpdateDocument {
  readonly operation: 'update';
  readonly campaign_id: string;
  readonly model: string;
  readonly version: string;
  /** Path below the gateway's HTTPS address: the device knows the address it enrolled at. */
  readonly url: string;
  readonly sha256: string;
  readonly size_bytes: number;
  /** Smaller files that make the same image of one that the device may still have; it takes one, or `url`. */
  readonly deltas?: readonly UpdateDelta[];
}

export interface UpdateDelta {
  /** Of the image that it is applied to; the digest of nothing where it is the image itself, compressed. */
  readonly from_sha256: string;
  /** Path below the gateway's HTTPS address. */
  readonly url: string;
  /** A device leaves out those that it does not know. */
  readonly format: string;
  readonly sha256: string;
  readonly size_bytes: number;
}

const shortText = v.pipe(v.string(), v.minLength(1), v.maxLength(256));
const url = v.pipe(v.string(), v.startsWith('/'), v.maxLength(512));
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'Expected a SHA-256 in hexadecimal'));
const sizeBytes = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const delta = v.object({
  from_sha256: sha256,
  url,
  format: shortText,
  sha256,
  size_bytes: sizeBytes,
});
const schema = v.object({
  operation: v.literal('update'),
  campaign_id: shortText,
  model: shortText,
  version: shortText,
  url,
  sha256,
  size_bytes: sizeBytes,
  deltas: v.exactOptional(v.pipe(v.array(delta), v.maxLength(16))),
});

/** Reads the document of an execution; a reason when it is no update. */
export const parseUpdateDocument = (
  document: unknown,
):
  | { readonly ok: true; readonly value: UpdateDocument }
  | { readonly ok: false; readonly reason: string } => {
  const result = v.safeParse(schema, document, { abortEarly: true });
  return result.success
    ? { ok: true, value: result.output }
    : { ok: false, reason: reasonOf(result.issues) };
};
