/** Which devices a campaign is for and whose turn it is: pure functions of the plan, the devices and the executions. */
import type { ExecutionStatus } from '@holdfast/protos/link/execution-status';
import type { CampaignBody, FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { type TargetDecision, targetDecider } from '@holdfast/protos/semantics/campaign-target';
import { isServed } from '@holdfast/protos/semantics/lifecycle';
import { type Device, isOnline } from '../devices/device.js';
import { isUnderWay } from './execution.js';
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
const supersedes = (a: Campaign, b: Campaign): boolean =>
  a.body.document === null && b.body.document === null && isNewer(a, b);

const isNewer = (a: Campaign, b: Campaign): boolean =>
  a.body.started_at === b.body.started_at ? a.id > b.id : a.body.started_at > b.body.started_at;

/** An execution that is not over, with whom it is about. */
export interface LiveExecution {
  readonly campaign: Campaign;
  readonly device: Device;
  readonly execution: Execution;
}

export interface Turn {
  readonly campaign: string;
  readonly device: string;
}

export interface Turns {
  readonly offer: readonly Turn[];
  readonly supersede: readonly Turn[];
}

/** A device that is offline cannot use the place that its offer has, so it is not counted. */
const takesPlace = (status: ExecutionStatus, device: Device): boolean =>
  isUnderWay(status) && (status !== 'offered' || isOnline(device));

/**
 * Whose turn it is now: as many devices of each campaign as it has places at a site, connected ones, one campaign a device at a time.
 * `isReady` says whether a firmware is here and verified, `mayBegin` whether the windows of the site let a device begin.
 */
export const chooseTurns = (
  live: readonly LiveExecution[],
  isReady: (sha256: string) => boolean,
  now: number,
  mayBegin: (device: Device) => boolean = () => true,
): Turns => {
  const ofDevice = groupBy(live, ({ device }) => device.device);
  const free = new Map<string, number>();
  for (const { campaign, device, execution } of live) {
    const left = free.get(campaign.id) ?? campaign.body.policy.site_concurrency;
    free.set(campaign.id, left - (takesPlace(execution.status, device) ? 1 : 0));
  }
  const offer: Turn[] = [];
  const supersede: Turn[] = [];
  for (const item of live) {
    const { campaign, device, execution } = item;
    const turn = { campaign: campaign.id, device: device.device };
    const others = (ofDevice.get(device.device) ?? []).filter((other) => other !== item);
    const isWaiting = execution.status === 'queued' || execution.status === 'offered';
    if (isWaiting && others.some((other) => supersedes(other.campaign, campaign))) {
      supersede.push(turn);
      continue;
    }
    const left = free.get(campaign.id) ?? 0;
    const isFree =
      left > 0 &&
      execution.status === 'queued' &&
      execution.notBefore <= now &&
      isOnline(device) &&
      isHere(campaign, execution, isReady) &&
      mayBegin(device) &&
      !others.some((other) => isUnderWay(other.execution.status));
    if (!isFree) continue;
    offer.push(turn);
    free.set(campaign.id, left - 1);
  }
  return { offer, supersede };
};

/** Whether what it installs is here; a plain job installs nothing. */
const isHere = (
  campaign: Campaign,
  execution: Execution,
  isReady: (sha256: string) => boolean,
): boolean => {
  const image = imageOf(campaign, execution);
  return image === undefined ? campaign.body.document !== null : isReady(image.sha256);
};

/** When there is something to do although nothing happens; undefined when never. */
export const nextWakeAt = (live: Iterable<Execution>, now: number): number | undefined => {
  let earliest: number | undefined;
  for (const { status, deadline, notBefore } of live) {
    const at = status === 'queued' ? (notBefore > now ? notBefore : null) : deadline;
    if (at !== null && (earliest === undefined || at < earliest)) earliest = at;
  }
  return earliest;
};

const groupBy = <T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> => {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
};
