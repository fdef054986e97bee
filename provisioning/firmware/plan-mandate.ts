/** What the head of the plan says of metadata, in the place of TUF's snapshot and timestamp: which files are current, and until when. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { PlanHead } from '@holdfast/protos/link/plan-documents';
import { canonicalSha256 } from '@holdfast/protos/semantics/canonical-json';
import { type MetadataFile, metadataId } from './metadata-file.js';

/** A head whose own signature and place were verified (provisioning/documents/plan, decide-plan). */
export type HeadOfMetadata = Pick<PlanHead, 'issued_at' | 'expires_at' | 'grace' | 'documents'>;

/** Errors: FIRMWARE_MIX_AND_MATCH for a file that the head does not name, or names with other bytes. */
export const checkNamed = (head: HeadOfMetadata, files: readonly MetadataFile[]): void => {
  const named = new Map(
    head.documents.filter(({ kind }) => kind === 'metadata').map((row) => [row.id, row]),
  );
  const seen = new Set<string>();
  for (const file of files) {
    const id = metadataId(file);
    const reference = named.get(id);
    const body = { role: file.role, version: file.version, signed: file.signed };
    const isNamed =
      reference !== undefined &&
      !seen.has(id) &&
      canonicalSha256({ kind: 'metadata', id, revision: reference.revision, body }) ===
        reference.sha256;
    if (!isNamed) {
      throw new HoldfastError(
        'FIRMWARE_MIX_AND_MATCH',
        `The metadata ${id} is not the one that the plan names`,
      );
    }
    seen.add(id);
  }
};

/**
 * `now` is null while the clock is not trusted: then nothing expires.
 * Errors: FIRMWARE_FROZEN when the head is too old to say what is current.
 */
export const checkFresh = (
  head: HeadOfMetadata,
  now: number | null,
  /** Of the campaign; undefined where it is not asked. */
  maxPlanAgeMs: number | undefined,
): void => {
  if (now === null) return;
  const until = Math.min(
    head.expires_at + head.grace,
    maxPlanAgeMs === undefined ? Number.POSITIVE_INFINITY : head.issued_at + maxPlanAgeMs,
  );
  if (now < until) return;
  throw new HoldfastError(
    'FIRMWARE_FROZEN',
    `The plan is of ${moment(head.issued_at)}, and was to be believed until ${moment(until)}`,
  );
};

const moment = (epochMs: number): string => new Date(epochMs).toISOString();
