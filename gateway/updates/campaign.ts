/** A campaign of this site: its images, its devices, its time limits. Pure. */
import type { CampaignBody, FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { targetDecider } from '@holdfast/protos/semantics/campaign-target';
import { isServed } from '@holdfast/protos/semantics/lifecycle';
import type { Device } from '../devices/device.js';
import type { Execution, ExecutionPolicy } from './execution-state.js';

/** A campaign as it is carried out here. It keeps what it was started with, whatever becomes of the plan. */
export interface Campaign {
  readonly id: string;
  readonly body: CampaignBody;
  /** In the order of `body.firmware`; none for a plain job. */
  readonly images: readonly FirmwareBody[];
}

/** Id of a firmware's document. */
export const firmwareId = ({ model, version }: FirmwareBody): string => `${model}@${version}`;

/** Whether an image is for the hardware of a device; undefined where one of them is not known. */
export type RunsOn = (
  image: FirmwareBody,
  device: Device,
  labels: DeviceMarks['labels'],
) => boolean | undefined;

/**
 * The image that a device gets: that of its model, and of several that for its hardware. Where that is not known, none of these; where
 * it is known and none is for it, the first, so that somebody is told why it cannot have it.
 */
export const imageFor = (
  { images }: Campaign,
  device: Device,
  { labels }: DeviceMarks,
  runsOn: RunsOn,
): FirmwareBody | undefined => {
  const ofModel = images.filter(({ model }) => model === device.model);
  if (ofModel.length < 2) return ofModel[0];
  const fits = ofModel.map((image) => runsOn(image, device, labels));
  const chosen = fits.indexOf(true);
  if (chosen >= 0) return ofModel[chosen];
  return fits.includes(undefined) ? undefined : ofModel[0];
};

/** The image that an execution installs; undefined for a plain job. */
export const imageOf = (
  { images }: Campaign,
  { firmware }: Pick<Execution, 'firmware'>,
): FirmwareBody | undefined => images.find((image) => firmwareId(image) === firmware);

/** What is known of a device besides what it says: its labels and its groups. */
export interface DeviceMarks {
  readonly labels: Readonly<Record<string, string>>;
  readonly groups: ReadonlySet<string>;
}

export const unmarked: DeviceMarks = { labels: {}, groups: new Set() };

/** A device that a campaign is for, and what it gets; null for a plain job. */
export interface TargetedDevice {
  readonly device: string;
  readonly image: FirmwareBody | null;
}

/** Decides of one device after the other whether the campaign is for it: its target fits, it runs something else, and it is in service. */
export const targeting = (
  campaign: Campaign,
  runsOn: RunsOn,
): ((device: Device, marks: DeviceMarks) => TargetedDevice | undefined) => {
  const { target, document, allows_older } = campaign.body;
  const isJob = document !== null;
  const decide = targetDecider(target, { isJob, allowsOlder: allows_older });
  return (device, marks) => {
    if (!isServed(device.lifecycle.state)) return undefined;
    const image = imageFor(campaign, device, marks, runsOn);
    const decision = decide(
      { ...marks, device: device.device, model: device.model, version: device.firmwareVersion },
      image && { id: firmwareId(image), model: image.model, version: image.version },
    );
    return decision === 'targeted' ? { device: device.device, image: image ?? null } : undefined;
  };
};

const settleMs = 10_000;
/** How long a device may take to say that it gave up, and how often the site may spoil an attempt. */
const cancelTimeoutMs = 10 * 60_000;
const siteRetries = 10;

export const policyOf = ({ body: { policy, document } }: Campaign): ExecutionPolicy => ({
  isJob: document !== null,
  retries: policy.retries,
  siteRetries,
  retryAfterMs: { first: 10_000, most: 600_000 },
  offerTimeoutMs: policy.offer_timeout_ms,
  downloadTimeoutMs: policy.download_timeout_ms,
  installTimeoutMs: policy.install_timeout_ms,
  confirmTimeoutMs: policy.confirm_timeout_ms,
  settleMs,
  cancelTimeoutMs,
});

/** The newer of two updates has a device for itself; a plain job takes the place of nothing, and nothing takes its place. */
export const supersedes = (a: Campaign, b: Campaign): boolean =>
  a.body.document === null && b.body.document === null && isNewer(a, b);

const isNewer = (a: Campaign, b: Campaign): boolean =>
  a.body.started_at === b.body.started_at ? a.id > b.id : a.body.started_at > b.body.started_at;
