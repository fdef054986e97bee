/** What somebody asks for when creating a campaign, read and checked before anything is stored. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Campaign } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { CampaignBody } from '@holdfast/protos/link/plan-documents';
import { parseSiteName, requireId } from '../api/resource-name.js';
import { parseFirmwareName } from '../firmware/firmware-service.js';
import { policyBodyOf } from './campaign-messages.js';

export interface CampaignDraft {
  readonly displayName: string;
  readonly firmware: string;
  readonly sites: readonly string[];
  readonly target: {
    /** Empty: the firmware's. */
    readonly model: string;
    readonly deviceIds: readonly string[];
    readonly currentVersions: readonly string[];
  };
  readonly policy: CampaignBody['policy'];
}

/** A campaign travels whole to every site that it targets. */
const mostDeviceIds = 10_000;
const mostVersions = 100;
const mostSites = 10_000;

/** Errors: REQUEST_INVALID. */
export const parseDraft = (id: string, campaign: Campaign | undefined): CampaignDraft => {
  if (campaign === undefined) throw new HoldfastError('REQUEST_INVALID', 'campaign is missing');
  const { target } = campaign;
  return {
    displayName: requireText(campaign.displayName || id, 'display_name'),
    firmware: parseFirmwareName(campaign.firmware),
    sites: unique(requireFew(target?.sites ?? [], mostSites, 'target.sites').map(parseSiteName)),
    target: {
      model: target?.model === undefined ? '' : requireText(target.model, 'target.model', 0),
      deviceIds: unique(
        requireFew(target?.deviceIds ?? [], mostDeviceIds, 'target.device_ids').map((device) =>
          requireId(device, 'target.device_ids'),
        ),
      ),
      currentVersions: unique(
        requireFew(target?.currentVersions ?? [], mostVersions, 'target.current_versions').map(
          (version) => requireText(version, 'target.current_versions'),
        ),
      ),
    },
    policy: policyBodyOf(campaign.policy),
  };
};

const requireFew = (values: readonly string[], most: number, field: string): readonly string[] => {
  if (values.length <= most) return values;
  throw new HoldfastError('REQUEST_INVALID', `${field} names more than ${most}`);
};

const requireText = (text: string, field: string, least = 1): string => {
  if (text.length >= least && text.length <= 256) return text;
  throw new HoldfastError('REQUEST_INVALID', `${field} must be ${least} to 256 characters`);
};

const unique = (values: readonly string[]): string[] => [...new Set(values)];
