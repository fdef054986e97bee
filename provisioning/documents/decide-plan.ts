/** Whether a site may apply a plan it was sent, by what it has applied. Pure. */
import type { VerifiedPlanHead } from './plan.js';

/** The plan that is applied. */
export interface AppliedPlan {
  readonly generation: number;
  readonly revision: number;
  /** SHA-256 of its head's bytes. */
  readonly sha256: string;
}

/** Where the plan would be applied. */
export interface PlanTarget {
  readonly fleet: string;
  readonly site: string;
  /** undefined before the first plan. */
  readonly applied: AppliedPlan | undefined;
}

export type PlanDecision =
  | { readonly decision: 'apply' }
  /** The very same plan is applied already. */
  | { readonly decision: 'keep' }
  | {
      readonly decision: 'refuse';
      readonly code: 'PLAN_OTHER_SITE' | 'PLAN_OLDER' | 'PLAN_CONFLICT';
      readonly message: string;
    };

/** A generation, which rises when the cloud is restored, counts before a revision. */
export const decidePlan = (
  { fleet, site, applied }: PlanTarget,
  { head, sha256 }: VerifiedPlanHead,
): PlanDecision => {
  if (head.fleet !== fleet || head.site !== site) {
    const message = `The plan is for ${head.fleet}/${head.site}; this is ${fleet}/${site}`;
    return { decision: 'refuse', code: 'PLAN_OTHER_SITE', message };
  }
  if (applied === undefined) return { decision: 'apply' };
  const order = head.generation - applied.generation || head.revision - applied.revision;
  if (order > 0) return { decision: 'apply' };
  const which = `Plan ${head.generation}.${head.revision}`;
  if (order < 0) {
    const message = `${which} is older than ${applied.generation}.${applied.revision}, which is applied`;
    return { decision: 'refuse', code: 'PLAN_OLDER', message };
  }
  if (sha256 === applied.sha256) return { decision: 'keep' };
  const message = `${which} is applied with other content: two control planes may be at work`;
  return { decision: 'refuse', code: 'PLAN_CONFLICT', message };
};
