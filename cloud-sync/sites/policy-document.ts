/** The policy in a site's plan: the fleet's, and who wins conflicts there. What a site assumes by itself (protos/link/site-policy) is not said. */
import type { PolicyBody } from '@holdfast/protos/link/plan-documents';
import { sitePolicy } from '@holdfast/protos/link/site-policy';
import { emergencyStopOf } from '../campaigns/emergency-stops.js';
import type { CloudConfiguration } from '../configuration.js';
import { conflictRulesOf } from '../shadows/conflict-policies.js';
import type { PlanDocumentProvider } from './plan-documents.js';

export const policyDocument = (policy: CloudConfiguration['policy']): PlanDocumentProvider => {
  const ofFleet = fleetPolicy(policy);
  return async (db, site) => {
    const rules = await conflictRulesOf(db, site);
    const conflicts = rules.length === 0 ? {} : { shadow_conflicts: [...rules] };
    const stop = await emergencyStopOf(db, site);
    const stopped = stop === undefined ? {} : { emergency_stop: stop };
    const body = { ...ofFleet, ...conflicts, ...stopped };
    return Object.keys(body).length === 0 ? [] : [{ kind: 'policy', id: 'policy', body }];
  };
};

const hourMs = 3_600_000;

const fleetPolicy = (policy: CloudConfiguration['policy']): PolicyBody => {
  const assumed = sitePolicy(undefined);
  const afterMs = policy.staleRevocationsDays * 24 * hourMs;
  const inactiveAfterMs = policy.inactiveAfterHours * hourMs;
  const graceMs = policy.expiredMetadataGraceDays * 24 * hourMs;
  const stops = [
    ...(policy.staleStopsEnrolment ? (['enrolment'] as const) : []),
    ...(policy.staleStopsRenewal ? (['renewal'] as const) : []),
  ];
  const isAssumed =
    afterMs === assumed.staleRevocations.afterMs &&
    stops.join() === [...assumed.staleRevocations.stops].join() &&
    inactiveAfterMs === assumed.inactiveAfterMs;
  return {
    ...(isAssumed
      ? {}
      : {
          stale_revocations: { after_ms: afterMs, stops },
          inactive_after_ms: inactiveAfterMs,
        }),
    ...(graceMs === assumed.expiredMetadataGraceMs ? {} : { expired_metadata_grace_ms: graceMs }),
  };
};
