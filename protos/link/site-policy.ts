/** What holds at a site where its plan says nothing else, or says nothing yet. */
import type { ConflictRule } from '../semantics/conflict-policy.js';
import type { PolicyBody } from './plan-documents.js';

/** Durations in ms. */
export interface SitePolicy {
  readonly staleRevocations: {
    readonly afterMs: number;
    readonly stops: ReadonlySet<StaleStop>;
  };
  readonly deviceCertificates: { readonly renewingMs: number; readonly otherMs: number };
  readonly inactiveAfterMs: number;
  /** How long after its expiry the metadata of firmware still counts. */
  readonly expiredMetadataGraceMs: number;
  /** In their order. */
  readonly shadowConflicts: readonly ConflictRule[];
}

/** What a site may do without when it has not been told for long what was revoked elsewhere. */
export type StaleStop = NonNullable<PolicyBody['stale_revocations']>['stops'][number];

const dayMs = 86_400_000;

export const sitePolicy = (body: PolicyBody | undefined): SitePolicy => ({
  staleRevocations: {
    // As long as a plan lives: a site that is cut off for two months enrols all the same.
    afterMs: body?.stale_revocations?.after_ms ?? 90 * dayMs,
    stops: new Set(body?.stale_revocations?.stops ?? ['enrolment']),
  },
  deviceCertificates: {
    renewingMs: body?.device_certificates?.renewing_ms ?? 7 * dayMs,
    otherMs: body?.device_certificates?.other_ms ?? 365 * dayMs,
  },
  inactiveAfterMs: body?.inactive_after_ms ?? 7 * dayMs,
  expiredMetadataGraceMs: body?.expired_metadata_grace_ms ?? 0,
  shadowConflicts: body?.shadow_conflicts ?? [],
});
