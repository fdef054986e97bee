/** Which devices a campaign is for: a pure function of its document, its images and what is known of the device. */
import type { CampaignTarget } from '../link/campaign-document.js';
import { isInRange, orderOfVersions, parseVersionRange } from './version-order.js';

/** A device, as far as campaigns ask. */
export interface Targetable {
  readonly device: string;
  /** Empty while it is not known. */
  readonly model: string;
  /** The firmware that it runs; null while it is not known. */
  readonly version: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Ids of the groups that it is in. */
  readonly groups: ReadonlySet<string>;
}

/** An image of a campaign, as far as it decides who is targeted. */
export interface TargetImage {
  readonly id: string;
  readonly model: string;
  readonly version: string;
}

export type TargetDecision =
  | 'targeted'
  /** Its target names something else. */
  | 'other'
  /** It runs the image already. */
  | 'current'
  /** It runs a newer version, and the campaign is no rollback. */
  | 'newer';

/** Reads the range of a target once, for many devices. Nothing is in a range that cannot be read. */
export const targetDecider = (
  target: CampaignTarget,
  { isJob, allowsOlder }: { readonly isJob: boolean; readonly allowsOlder: readonly string[] },
): ((device: Targetable, image: TargetImage | undefined) => TargetDecision) => {
  const range = parseVersionRange(target.version_range) ?? [];
  const ids = setOf(target.device_ids);
  const models = setOf(target.models);
  const versions = setOf(target.current_versions);
  const labels = Object.entries(target.attributes);
  const older = new Set(allowsOlder);

  const fits = (device: Targetable): boolean =>
    (ids === undefined || ids.has(device.device)) &&
    (models === undefined || models.has(device.model)) &&
    (versions === undefined || (device.version !== null && versions.has(device.version))) &&
    (target.groups.length === 0 || target.groups.some((group) => device.groups.has(group))) &&
    labels.every(
      ([name, value]) => Object.hasOwn(device.labels, name) && device.labels[name] === value,
    ) &&
    isInRange(device.version, range);

  return (device, image) => {
    if (!fits(device)) return 'other';
    if (isJob) return 'targeted';
    if (image === undefined || image.model !== device.model) return 'other';
    if (device.version === image.version) return 'current';
    const order =
      device.version === null ? undefined : orderOfVersions(device.version, image.version);
    return order !== undefined && order > 0 && !older.has(image.id) ? 'newer' : 'targeted';
  };
};

const setOf = (values: readonly string[]): ReadonlySet<string> | undefined =>
  values.length === 0 ? undefined : new Set(values);
