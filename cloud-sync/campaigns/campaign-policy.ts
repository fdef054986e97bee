/** How carefully a campaign is carried out: as the API says it and as the plan does. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  CampaignPolicy,
  type DisruptionBudget,
  UnprovenOutcome,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import {
  defaultMaxPlanAgeMs,
  type CampaignPolicy as PolicyBody,
} from '@holdfast/protos/link/campaign-document';
import { parseName } from '../api/resource-name.js';
import { groupName } from '../groups/group-records.js';

/** What a policy stands for where it says 0 (campaigns.proto). */
const defaults = {
  site_concurrency: 10,
  offer_timeout_ms: 86_400_000,
  download_timeout_ms: 3_600_000,
  install_timeout_ms: 1_800_000,
  confirm_timeout_ms: 600_000,
} as const;

const mostBudgets = 16;

/** Errors: REQUEST_INVALID. */
export const parsePolicy = (policy: CampaignPolicy | undefined): PolicyBody => {
  const given = policy ?? CampaignPolicy.create();
  const timeout = (seconds: number, fallback: number) => seconds * 1000 || fallback;
  if (given.disruption.length > mostBudgets) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `policy.disruption has at most ${mostBudgets} budgets`,
    );
  }
  return {
    site_concurrency: given.siteConcurrency || defaults.site_concurrency,
    retries: given.retries,
    offer_timeout_ms: timeout(given.offerTimeoutSeconds, defaults.offer_timeout_ms),
    download_timeout_ms: timeout(given.downloadTimeoutSeconds, defaults.download_timeout_ms),
    install_timeout_ms: timeout(given.installTimeoutSeconds, defaults.install_timeout_ms),
    confirm_timeout_ms: timeout(given.confirmTimeoutSeconds, defaults.confirm_timeout_ms),
    disruption: given.disruption.map(parseBudget),
    max_plan_age_ms:
      whole(given.maxPlanAgeSeconds, 'policy.max_plan_age_seconds') * 1000 || defaultMaxPlanAgeMs,
    unproven_counts:
      given.unprovenCounts === UnprovenOutcome.UNPROVEN_OUTCOME_SUCCESS ? 'success' : 'failure',
    wan_bytes_per_s: whole(given.wanBytesPerSecond, 'policy.wan_bytes_per_second') || null,
  };
};

export const policyMessage = (body: PolicyBody): CampaignPolicy => ({
  siteConcurrency: body.site_concurrency,
  retries: body.retries,
  offerTimeoutSeconds: body.offer_timeout_ms / 1000,
  downloadTimeoutSeconds: body.download_timeout_ms / 1000,
  installTimeoutSeconds: body.install_timeout_ms / 1000,
  confirmTimeoutSeconds: body.confirm_timeout_ms / 1000,
  disruption: body.disruption.map(({ group, max_unavailable, min_available }) => ({
    group: group === null ? '' : groupName(group),
    ...(max_unavailable === null ? {} : { maxUnavailable: max_unavailable }),
    ...(min_available === null ? {} : { minAvailable: min_available }),
  })),
  maxPlanAgeSeconds: BigInt(Math.round(body.max_plan_age_ms / 1000)),
  unprovenCounts:
    body.unproven_counts === 'success'
      ? UnprovenOutcome.UNPROVEN_OUTCOME_SUCCESS
      : UnprovenOutcome.UNPROVEN_OUTCOME_FAILURE,
  wanBytesPerSecond: BigInt(body.wan_bytes_per_s ?? 0),
});

/** Far above anything that is meant; what is longer cannot be added to a time. */
const most = 1e12;

/** A 64-bit number of seconds or bytes as a number. Errors: REQUEST_INVALID. */
export const whole = (value: bigint, field: string): number => {
  if (value >= 0n && value <= BigInt(most)) return Number(value);
  throw new HoldfastError('REQUEST_INVALID', `${field} is at most ${most}`);
};

const parseBudget = ({
  group,
  maxUnavailable,
  minAvailable,
}: DisruptionBudget): PolicyBody['disruption'][number] => {
  if (maxUnavailable === undefined && minAvailable === undefined) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      'policy.disruption: a budget has max_unavailable, min_available or both',
    );
  }
  if (maxUnavailable === 0) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      'policy.disruption: with max_unavailable 0 no device could ever be updated',
    );
  }
  return {
    group: group === '' ? null : (parseName(group, 'groups/{group}')[0] ?? ''),
    max_unavailable: maxUnavailable ?? null,
    min_available: minAvailable ?? null,
  };
};
