/** A campaign as a plan gives it to a site (plan-documents.ts): an update or a plain job, for whom, in which steps, and how carefully. */
import * as v from 'valibot';
import type { JsonObject } from '../mqtt/json-payload.js';

const id = v.pipe(v.string(), v.minLength(1), v.maxLength(256));
const epochMs = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const durationMs = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const percent = v.pipe(v.number(), v.minValue(0), v.maxValue(100));

/** For which devices. Everything that is named has to fit; what is empty asks for nothing. */
export const campaignTarget = v.object({
  /** Empty: those of the firmware; for a plain job every model. */
  models: v.array(id),
  device_ids: v.array(id),
  /** Ids of group documents of the same plan: in one of them. */
  groups: v.array(id),
  /** Labels that the device has, each with this very value. */
  attributes: v.record(v.string(), v.string()),
  current_versions: v.array(id),
  /** As `< 2.1.0` or `>=1.0 <2` (semantics/version-order.ts). */
  version_range: v.string(),
  /** Whether devices that come to fit after the campaign began take part. */
  late_joiners: v.boolean(),
});
export type CampaignTarget = v.InferOutput<typeof campaignTarget>;

/** A share of the devices, and what has to hold before the next share begins. */
export const campaignPhase = v.object({
  /** Of all its devices, those of the phases before among them; of the last 100. */
  percent: v.pipe(percent, v.gtValue(0)),
  /** How long it is looked at from its beginning, before the next may begin. */
  duration_ms: count,
  /** Of its executions so far, before the next may begin. */
  success_percent: percent,
  /** More failures than this pause the campaign at the site; 100 never does. */
  error_percent: percent,
  /** Fewer executions than this that are over say nothing of errors. */
  error_min_count: count,
  /** Whose numbers `success_percent` is taken of. */
  judged_by: v.picklist(['site', 'fleet']),
  /** Somebody has to approve it before it begins. */
  approval: v.boolean(),
  /** It may begin as far as the control plane is concerned: approved, judged by the fleet, or released beforehand. */
  released: v.boolean(),
});
export type CampaignPhase = v.InferOutput<typeof campaignPhase>;

/** How many devices may be missing at a time because of updates, across all campaigns of the site. */
export const disruptionLimit = v.object({
  /** A group of the same plan; null: all devices of the site. */
  group: v.nullable(id),
  max_unavailable: v.nullable(count),
  min_available: v.nullable(count),
});
export type DisruptionLimit = v.InferOutput<typeof disruptionLimit>;

export const campaignPolicy = v.object({
  site_concurrency: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  retries: count,
  offer_timeout_ms: durationMs,
  download_timeout_ms: durationMs,
  install_timeout_ms: durationMs,
  confirm_timeout_ms: durationMs,
  disruption: v.array(disruptionLimit),
  /** How long after the site last heard of the control plane it offers this to further devices. */
  max_plan_age_ms: durationMs,
  /** What a device counts as that succeeds as far as anybody can tell, and gives no proof. */
  unproven_counts: v.picklist(['success', 'failure']),
  /** What its firmware may take of the WAN; null: what the site's policy says. */
  wan_bytes_per_s: v.nullable(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
});
export type CampaignPolicy = v.InferOutput<typeof campaignPolicy>;

/** A campaign, as far as this site is concerned. `id` of its document is the campaign's. */
export const campaignBody = v.object({
  state: v.picklist(['running', 'paused', 'cancelling']),
  /** Ids of firmware documents of the same plan, one for a model and hardware; none: it is a plain job. */
  firmware: v.array(id),
  /** What a plain job tells its devices; null: it is an update. */
  document: v.nullable(
    // By reference: a schema of records would copy, and drop the keys it holds for dangerous.
    v.custom<JsonObject>(
      (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
      'Expected an object',
    ),
  ),
  /** When it was started; where that is to come, it begins then. */
  started_at: epochMs,
  target: campaignTarget,
  /** In their order; the last is of 100 percent. */
  phases: v.pipe(
    v.array(campaignPhase),
    v.minLength(1),
    v.check(
      (phases) =>
        phases.at(-1)?.percent === 100 &&
        phases.every(({ percent: own }, i) => own > (phases[i - 1]?.percent ?? 0)),
      'the percentages have to rise to 100',
    ),
  ),
  policy: campaignPolicy,
  /** Ids of firmware that may be older than what a device runs: it is a rollback. The security counter holds all the same. */
  allows_older: v.array(id),
  /** How often people resumed it in the cloud: one more than before lifts a pause that the site made by itself. */
  resumes: v.optional(count, 0),
});
/** Every device at once, begun when the campaign is. */
export const onePhase: CampaignPhase = {
  percent: 100,
  duration_ms: 0,
  success_percent: 0,
  error_percent: 100,
  error_min_count: 0,
  judged_by: 'site',
  approval: false,
  released: true,
};

/** Seventy-two hours: a recalled image stops everywhere by then. */
export const defaultMaxPlanAgeMs = 72 * 3_600_000;

/** What a campaign that says nothing of them has for care. */
export const plainCare = {
  disruption: [],
  max_plan_age_ms: defaultMaxPlanAgeMs,
  unproven_counts: 'failure',
  wan_bytes_per_s: null,
} as const satisfies Partial<CampaignPolicy>;

/** Every device that its firmware is for. */
export const everyDevice: CampaignTarget = {
  models: [],
  device_ids: [],
  groups: [],
  attributes: {},
  current_versions: [],
  version_range: '',
  late_joiners: true,
};
