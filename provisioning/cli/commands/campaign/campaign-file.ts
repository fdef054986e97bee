/** A campaign or a job as a YAML file: the same words as the flags, with what belongs together beside each other. */
import { readFile } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { CampaignPhase } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import * as v from 'valibot';
import { parse } from 'yaml';
import { type JsonObject, parseJsonObject } from '../../arguments.js';
import { parseBytes, parseDuration, parseTime } from '../../duration.js';
import { type CampaignSpec, parseBudget } from './campaign-spec.js';
import { parsePhase } from './phase-option.js';

const text = v.union([v.string(), v.pipe(v.number(), v.transform(String))]);
const texts = v.union([
  v.array(text),
  v.pipe(
    text,
    v.transform((one) => [one]),
  ),
]);
const duration = (what: string) => v.pipe(v.string(), v.transform(parseDuration(what)));
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const phase = v.union([
  v.pipe(v.string(), v.transform(parsePhase)),
  v.pipe(
    v.strictObject({
      percent: v.number(),
      duration: v.exactOptional(v.string()),
      success: v.exactOptional(v.number()),
      errors: v.exactOptional(v.number()),
      error_count: v.exactOptional(count),
      judged_by: v.exactOptional(v.picklist(['site', 'fleet'])),
      approve: v.exactOptional(v.boolean()),
    }),
    v.transform(
      (one): CampaignPhase =>
        parsePhase(
          [
            `${one.percent}%`,
            ...(one.duration === undefined ? [] : [one.duration]),
            ...(one.success === undefined ? [] : [`success=${one.success}`]),
            ...(one.errors === undefined ? [] : [`errors=${one.errors}/${one.error_count ?? 0}`]),
            ...(one.judged_by === 'fleet' ? ['fleet'] : []),
            ...(one.approve === true ? ['approve'] : []),
          ].join(':'),
        ),
    ),
  ),
]);

const campaignFile = v.strictObject({
  name: v.exactOptional(text),
  images: v.exactOptional(texts),
  document: v.exactOptional(v.record(v.string(), v.unknown())),
  target: v.exactOptional(
    v.strictObject({
      sites: v.exactOptional(texts),
      groups: v.exactOptional(texts),
      models: v.exactOptional(texts),
      devices: v.exactOptional(texts),
      labels: v.exactOptional(v.record(v.string(), text)),
      from_versions: v.exactOptional(texts),
      versions: v.exactOptional(v.string()),
      late_joiners: v.exactOptional(v.boolean()),
    }),
  ),
  phases: v.exactOptional(v.array(phase)),
  policy: v.exactOptional(
    v.strictObject({
      concurrency: v.exactOptional(count),
      retries: v.exactOptional(count),
      offer_timeout: v.exactOptional(duration('offer_timeout')),
      download_timeout: v.exactOptional(duration('download_timeout')),
      install_timeout: v.exactOptional(duration('install_timeout')),
      confirm_timeout: v.exactOptional(duration('confirm_timeout')),
      max_plan_age: v.exactOptional(duration('max_plan_age')),
      unproven: v.exactOptional(v.picklist(['success', 'failure'])),
      budgets: v.exactOptional(v.array(v.pipe(v.string(), v.transform(parseBudget)))),
      wan: v.exactOptional(v.pipe(text, v.transform(parseBytes('wan')))),
    }),
  ),
  start_at: v.exactOptional(v.string()),
});

/** Errors: REQUEST_INVALID, with the field. `now` is epoch ms. */
export const readCampaignFile = async (path: string, now: number): Promise<CampaignSpec> =>
  parseCampaignFile(await readFile(path, 'utf8').catch(unreadable(path)), path, now);

export const parseCampaignFile = (content: string, path: string, now: number): CampaignSpec => {
  const parsed = v.safeParse(campaignFile, readYaml(content, path), { abortEarly: true });
  if (!parsed.success) {
    const [issue] = parsed.issues;
    const field = v.getDotPath(issue);
    throw new HoldfastError(
      'REQUEST_INVALID',
      `${path}${field === null ? '' : `: ${field}`}: ${issue.expected === 'never' ? 'there is no such field' : issue.message}`,
    );
  }
  const { name, images, document, target = {}, phases, policy = {}, start_at } = parsed.output;
  return defined({
    name,
    images,
    // Read again as the JSON that it becomes: YAML has more kinds of values.
    document: document && jsonOf(document),
    sites: target.sites,
    groups: target.groups,
    models: target.models,
    devices: target.devices,
    labels: target.labels,
    fromVersions: target.from_versions,
    versions: target.versions,
    lateJoiners: target.late_joiners,
    phases,
    concurrency: policy.concurrency,
    retries: policy.retries,
    offerTimeout: policy.offer_timeout,
    downloadTimeout: policy.download_timeout,
    installTimeout: policy.install_timeout,
    confirmTimeout: policy.confirm_timeout,
    maxPlanAge: policy.max_plan_age,
    unproven: policy.unproven,
    budgets: policy.budgets,
    wan: policy.wan,
    startAt: start_at === undefined ? undefined : parseTime(start_at, now),
  });
};

const jsonOf = (document: Readonly<Record<string, unknown>>): JsonObject =>
  parseJsonObject(JSON.stringify(document), 'document');

type Optional<T> = { readonly [K in keyof T]: T[K] | undefined };

/** Leaves out what is undefined; the rest is as the type says. */
const defined = (spec: Optional<CampaignSpec>): CampaignSpec =>
  Object.fromEntries(
    Object.entries(spec).filter(([, value]) => value !== undefined),
  ) as CampaignSpec;

const readYaml = (content: string, path: string): unknown => {
  try {
    return parse(content);
  } catch (error) {
    throw new HoldfastError('REQUEST_INVALID', `${path}: ${messageOf(error)}`);
  }
};

const unreadable = (path: string) => (error: unknown) => {
  throw new HoldfastError('REQUEST_INVALID', `${path} cannot be read: ${messageOf(error)}`);
};
