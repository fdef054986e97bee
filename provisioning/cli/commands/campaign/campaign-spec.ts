/** What somebody wants of a campaign or a job, from flags or from a file, before it is sent. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  Campaign,
  type CampaignPhase,
  type DisruptionBudget,
  UnprovenOutcome,
} from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { JsonObject } from '../../arguments.js';
import { targetDevices } from './target-devices.js';

/** What is left out stays as it is assumed (campaigns.proto). */
export interface CampaignSpec {
  readonly name?: string;
  readonly images?: readonly string[];
  readonly document?: JsonObject;
  readonly sites?: readonly string[];
  readonly groups?: readonly string[];
  readonly models?: readonly string[];
  readonly devices?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly fromVersions?: readonly string[];
  readonly versions?: string;
  readonly lateJoiners?: boolean;
  readonly phases?: readonly CampaignPhase[];
  readonly concurrency?: number;
  readonly retries?: number;
  /** Seconds. */
  readonly offerTimeout?: number;
  readonly downloadTimeout?: number;
  readonly installTimeout?: number;
  readonly confirmTimeout?: number;
  readonly maxPlanAge?: number;
  readonly unproven?: 'success' | 'failure';
  readonly budgets?: readonly DisruptionBudget[];
  /** Bytes per second. */
  readonly wan?: number;
  readonly startAt?: Date;
}

/** The fields of the second that are there stand in place of those of the first. */
export const mergeSpecs = (first: CampaignSpec, second: CampaignSpec): CampaignSpec => ({
  ...first,
  ...Object.fromEntries(Object.entries(second).filter(([, value]) => value !== undefined)),
});

/** As the API takes it. Errors: REQUEST_INVALID. */
export const campaignOf = (id: string, spec: CampaignSpec): Campaign => {
  const { sites, devices } = targetDevices(spec);
  const campaign = Campaign.fromPartial({
    displayName: spec.name ?? id,
    images: (spec.images ?? []).map((image) => `firmware/${image}`),
    target: {
      sites: sites.map((site) => `sites/${site}`),
      groups: (spec.groups ?? []).map((group) => `groups/${group}`),
      models: [...(spec.models ?? [])],
      deviceIds: [...devices],
      attributes: spec.labels ?? {},
      currentVersions: [...(spec.fromVersions ?? [])],
      versionRange: spec.versions ?? '',
      ...(spec.lateJoiners === undefined ? {} : { lateJoiners: spec.lateJoiners }),
    },
    policy: {
      siteConcurrency: spec.concurrency ?? 0,
      retries: spec.retries ?? 0,
      offerTimeoutSeconds: spec.offerTimeout ?? 0,
      downloadTimeoutSeconds: spec.downloadTimeout ?? 0,
      installTimeoutSeconds: spec.installTimeout ?? 0,
      confirmTimeoutSeconds: spec.confirmTimeout ?? 0,
      maxPlanAgeSeconds: BigInt(spec.maxPlanAge ?? 0),
      unprovenCounts:
        spec.unproven === 'success'
          ? UnprovenOutcome.UNPROVEN_OUTCOME_SUCCESS
          : UnprovenOutcome.UNPROVEN_OUTCOME_UNSPECIFIED,
      wanBytesPerSecond: BigInt(spec.wan ?? 0),
    },
  });
  return {
    ...campaign,
    document: spec.document,
    phases: [...(spec.phases ?? [])],
    policy: campaign.policy && { ...campaign.policy, disruption: [...(spec.budgets ?? [])] },
    scheduledTime: spec.startAt,
  };
};

/** `max=2`, or `pumps:max=1:min=3` for a group. Errors: REQUEST_INVALID. */
export const parseBudget = (text: string): DisruptionBudget => {
  const parts = text.split(':');
  const group = parts[0]?.includes('=') === false ? parts.shift() : undefined;
  const budget: { maxUnavailable?: number; minAvailable?: number } = {};
  for (const part of parts) {
    const [, name, count = ''] = /^(max|min)=(\d+)$/.exec(part) ?? [];
    if (name === undefined) throw wrongBudget(text);
    if (name === 'max') budget.maxUnavailable = Number(count);
    else budget.minAvailable = Number(count);
  }
  if (parts.length === 0) throw wrongBudget(text);
  return { group: group === undefined ? '' : `groups/${group}`, ...budget };
};

const wrongBudget = (text: string): HoldfastError =>
  new HoldfastError(
    'REQUEST_INVALID',
    `'${text}' is no budget: write max=2 (at most two devices of a site away at once), or pumps:max=1:min=3 for a group`,
  );
