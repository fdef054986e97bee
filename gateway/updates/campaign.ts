/** A campaign of this site: its images, its devices, its time limits. Pure. */
import type { CampaignBody, FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { type TargetDecision, targetDecider } from '@holdfast/protos/semantics/campaign-target';
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

/** The image that a device of this model gets. */
export const imageFor = (
  { images }: Campaign,
  { model }: Pick<Device, 'model'>,
): FirmwareBody | undefined => images.find((image) => image.model === model);

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

/** Decides of one device after the other whether the campaign is for it: its target fits, it runs something else, and it is in service. */
export const targeting = (
  campaign: Campaign,
): ((device: Device, marks?: DeviceMarks) => TargetDecision) => {
  const { target, document, allows_older } = campaign.body;
  const isJob = document !== null;
  const decide = targetDecider(target, { isJob, allowsOlder: allows_older });
  return (device, marks = unmarked) => {
    if (!isServed(device.lifecycle.state)) return 'other';
    const image = imageFor(campaign, device);
    return decide(
      { ...marks, device: device.device, model: device.model, version: device.firmwareVersion },
      image && { id: firmwareId(image), model: image.model, version: image.version },
    );
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
