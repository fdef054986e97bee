/** Drafts the campaign that takes another back: the devices that run what it installed get an image with the same security counter. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareRow } from '../firmware/firmware-library.js';
import { parseFirmwareName } from '../firmware/firmware-service.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import type { CampaignDraft } from './campaign-draft.js';
import { isForTheSame, requireImages } from './campaign-images.js';
import { type CampaignRow, requireCampaign } from './campaign-records.js';
import { imagesOfRow, policyOfRow, targetOfRow, targetSitesOf } from './campaign-row.js';

export interface Rollback {
  readonly draft: CampaignDraft;
  /** Ids of firmware. */
  readonly allowsOlder: readonly string[];
}

/** Errors: RESOURCE_NOT_FOUND, RESOURCE_STATE_WRONG, REQUEST_INVALID, FIRMWARE_COUNTER_TOO_LOW. */
export const draftRollback = async (
  { db }: WriteTransaction,
  {
    original: id,
    images: names,
  }: { readonly original: string; readonly images: readonly string[] },
): Promise<Rollback> => {
  const original = await requireCampaign(db, id);
  requireUpdate(original);
  const installed = await requireImages(db, imagesOfRow(original));
  const ids = [...new Set(names.map(parseFirmwareName))];
  if (ids.length === 0) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `images is missing: which version are the devices to have instead of ${imagesOfRow(original).join(', ')}?`,
    );
  }
  const images = await requireImages(db, ids);
  for (const image of images) requireSameCounter(image, installed, id);
  const taken = installed.filter((one) => images.some((image) => isForTheSame(one, image)));
  const target = targetOfRow(original);
  return {
    allowsOlder: ids,
    draft: {
      displayName: `rollback of ${original.display_name}`.slice(0, 256),
      images: ids,
      document: null,
      sites: targetSitesOf(original),
      target: {
        ...target,
        models: [...new Set(images.map(({ model }) => model))],
        // Those that run what is taken back, whatever they ran before.
        current_versions: [...new Set(taken.map(({ version }) => version))],
        version_range: '',
        late_joiners: true,
      },
      // All at once: what is taken back does harm.
      phases: [],
      policy: policyOfRow(original),
      scheduledAt: null,
    },
  };
};

const requireUpdate = (original: CampaignRow): void => {
  if (imagesOfRow(original).length === 0) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `The campaign ${original.campaign_id} is a plain job: it installed nothing that could be taken back`,
    );
  }
  if (original.started_at !== null || original.state === 'cancelled') return;
  throw new HoldfastError(
    'RESOURCE_STATE_WRONG',
    `The campaign ${original.campaign_id} has installed nothing yet`,
    { data: { next: `holdfast campaign cancel ${original.campaign_id}` } },
  );
};

const requireSameCounter = (
  image: FirmwareRow,
  installed: readonly FirmwareRow[],
  campaign: string,
): void => {
  const others = installed.filter((one) => isForTheSame(one, image));
  if (others.length === 0) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `${campaign} installed nothing on devices that ${image.firmware_id} is for`,
    );
  }
  for (const other of others) requireSame(image, other, campaign);
};

const requireSame = (image: FirmwareRow, other: FirmwareRow, campaign: string): void => {
  if (other.firmware_id === image.firmware_id) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `${image.firmware_id} is what ${campaign} installed`,
    );
  }
  const [counter, needed] = [counterOf(image), counterOf(other)];
  if (counter === needed) return;
  throw new HoldfastError(
    'FIRMWARE_COUNTER_TOO_LOW',
    `${image.firmware_id} has the security counter ${counter}, and devices that ran ${other.firmware_id} take ${needed} alone: a rollback needs the same. Sign a new version with the old content and the counter ${needed}`,
  );
};

/** 0 for images from before they were signed. */
const counterOf = ({ manifest }: FirmwareRow): number => {
  if (manifest === '') return 0;
  // Written when the release had been verified.
  return (JSON.parse(manifest) as { readonly security_counter: number }).security_counter;
};
