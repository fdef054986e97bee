/** The fleet's policy in every plan; what a site assumes by itself (protos/link/site-policy) is not said. */
import type { PolicyBody } from '@holdfast/protos/link/plan-documents';
import { sitePolicy } from '@holdfast/protos/link/site-policy';
import type { CloudConfiguration } from '../configuration.js';
import type { PlanDocumentProvider } from './plan-documents.js';

export const policyDocument = (policy: CloudConfiguration['policy']): PlanDocumentProvider => {
  const body = bodyOf(policy);
  const documents = body === undefined ? [] : [{ kind: 'policy', id: 'policy', body } as const];
  return async () => documents;
};

const hourMs = 3_600_000;

const bodyOf = (policy: CloudConfiguration['policy']): PolicyBody | undefined => {
  const assumed = sitePolicy(undefined);
  const afterMs = policy.staleRevocationsDays * 24 * hourMs;
  const inactiveAfterMs = policy.inactiveAfterHours * hourMs;
  const stops = [
    ...(policy.staleStopsEnrolment ? (['enrolment'] as const) : []),
    ...(policy.staleStopsRenewal ? (['renewal'] as const) : []),
  ];
  const isAssumed =
    afterMs === assumed.staleRevocations.afterMs &&
    stops.join() === [...assumed.staleRevocations.stops].join() &&
    inactiveAfterMs === assumed.inactiveAfterMs;
  if (isAssumed) return undefined;
  return {
    stale_revocations: { after_ms: afterMs, stops },
    inactive_after_ms: inactiveAfterMs,
  };
};
