/** What somebody asks for when creating a campaign, read and checked before anything is stored. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Campaign, CampaignTarget } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type {
  CampaignPolicy,
  CampaignTarget as TargetBody,
} from '@holdfast/protos/link/campaign-document';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import { parseVersionRange } from '@holdfast/protos/semantics/version-order';
import { requireJsonObject } from '../api/json-field.js';
import { parseName, parseSiteName, requireId } from '../api/resource-name.js';
import { parseLabels, requireLabels } from '../devices/device-records.js';
import { parseFirmwareName } from '../firmware/firmware-service.js';
import { parsePhases } from './campaign-phases.js';
import { parsePolicy } from './campaign-policy.js';
import type { PhaseDefinition } from './campaign-row.js';

export interface CampaignDraft {
  readonly displayName: string;
  /** Ids of firmware; none for a plain job. */
  readonly images: readonly string[];
  /** Of a plain job. */
  readonly document: JsonObject | null;
  readonly sites: readonly string[];
  /** Without models: those of the images. */
  readonly target: TargetBody;
  readonly phases: readonly PhaseDefinition[];
  readonly policy: CampaignPolicy;
  /** Epoch ms. */
  readonly scheduledAt: number | null;
}

/** Each site gets those that are its own. */
const mostDeviceIds = 10_000;
const mostVersions = 100;
const mostSites = 10_000;
const mostImages = 32;
const mostModels = 32;
const mostGroups = 32;
/** It travels to every site, and from there to every device. */
const jobDocument = { maxBytes: 32_768, maxDepth: 12 } as const;

/** Errors: REQUEST_INVALID, REQUEST_TOO_LARGE. */
export const parseDraft = (id: string, campaign: Campaign | undefined): CampaignDraft => {
  if (campaign === undefined) throw new HoldfastError('REQUEST_INVALID', 'campaign is missing');
  const images = parseImages(campaign);
  const { document } = campaign;
  if (images.length === 0 && document === undefined) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      'A campaign has images that it installs, or the document of a plain job',
    );
  }
  if (images.length > 0 && document !== undefined) {
    throw new HoldfastError('REQUEST_INVALID', 'A campaign has images or a document, not both');
  }
  return {
    displayName: requireText(campaign.displayName || id, 'display_name'),
    images,
    document: document === undefined ? null : requireJsonObject(document, 'document', jobDocument),
    sites: requireFew(campaign.target?.sites ?? [], mostSites, 'target.sites').map(parseSiteName),
    target: parseTarget(campaign.target),
    phases: parsePhases(campaign.phases),
    policy: parsePolicy(campaign.policy),
    scheduledAt: campaign.scheduledTime?.getTime() ?? null,
  };
};

const parseImages = ({ firmware, images }: Campaign): string[] => {
  const named = requireFew(
    firmware === '' || images.includes(firmware) ? images : [firmware, ...images],
    mostImages,
    'images',
  );
  return named.map(parseFirmwareName);
};

const parseTarget = (target: CampaignTarget | undefined): TargetBody => {
  const models = requireFew(
    target === undefined || target.model === ''
      ? (target?.models ?? [])
      : [target.model, ...target.models],
    mostModels,
    'target.models',
  );
  const versions = target?.currentVersions ?? [];
  return {
    models: models.map((model) => requireText(model, 'target.models')),
    device_ids: requireFew(target?.deviceIds ?? [], mostDeviceIds, 'target.device_ids').map(
      (device) => requireId(device, 'target.device_ids'),
    ),
    groups: requireFew(target?.groups ?? [], mostGroups, 'target.groups').map(
      (group) => parseName(group, 'groups/{group}')[0] ?? '',
    ),
    attributes: parseLabels(requireLabels(target?.attributes ?? {})),
    current_versions: requireFew(versions, mostVersions, 'target.current_versions').map((version) =>
      requireText(version, 'target.current_versions'),
    ),
    version_range: requireRange(target?.versionRange ?? ''),
    late_joiners: target?.lateJoiners ?? true,
  };
};

const requireRange = (range: string): string => {
  if (parseVersionRange(requireText(range, 'target.version_range', 0)) !== undefined) {
    return range.trim();
  }
  throw new HoldfastError(
    'REQUEST_INVALID',
    `target.version_range is "${range}" and cannot be read: write "< 2.1.0", ">=1.0 <2" or "1.4 || >=2.0.1", with versions of numbers`,
  );
};

const requireFew = (values: readonly string[], most: number, field: string): readonly string[] => {
  if (values.length <= most) return [...new Set(values)];
  throw new HoldfastError('REQUEST_INVALID', `${field} names more than ${most}`);
};

const requireText = (text: string, field: string, least = 1): string => {
  if (text.length >= least && text.length <= 256) return text;
  throw new HoldfastError('REQUEST_INVALID', `${field} must be ${least} to 256 characters`);
};
