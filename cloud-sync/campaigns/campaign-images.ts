/** The firmware that a campaign installs: it exists, and each image is for devices of its own. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Kysely } from 'kysely';
import { type FirmwareRow, requireFirmware } from '../firmware/firmware-library.js';
import type { Schema } from '../store/schema.js';

/** The firmware of these ids, one a model, or several for different hardware. Errors: RESOURCE_NOT_FOUND, REQUEST_INVALID, FIRMWARE_TARGET_UNKNOWN. */
export const requireImages = async (
  db: Kysely<Schema>,
  ids: readonly string[],
): Promise<FirmwareRow[]> => {
  const images: FirmwareRow[] = [];
  for (const id of ids) {
    const image = await requireFirmware(db, id);
    if (image.target === '') {
      throw new HoldfastError('FIRMWARE_TARGET_UNKNOWN', `Nobody has signed the firmware ${id}`, {
        data: { next: `holdfast firmware sign ${image.file_name || 'FILE'}, and upload it again` },
      });
    }
    const other = images.find((one) => isForTheSame(one, image));
    if (other !== undefined) {
      throw new HoldfastError(
        'REQUEST_INVALID',
        `${other.firmware_id} and ${id} are both for ${image.model}: a campaign has one image a model, or several that were signed for different hardware`,
      );
    }
    images.push(image);
  }
  return images;
};

/** Whether there may be a device that could have either. */
export const isForTheSame = (a: FirmwareRow, b: FirmwareRow): boolean => {
  if (a.model !== b.model) return false;
  const [ofA, ofB] = [hardwareOf(a), hardwareOf(b)];
  return ofA.length === 0 || ofB.length === 0 || ofA.some((revision) => ofB.includes(revision));
};

const hardwareOf = ({ manifest }: FirmwareRow): readonly string[] => {
  if (manifest === '') return [];
  // Written when the release had been verified.
  return (JSON.parse(manifest) as { readonly hardware: readonly string[] }).hardware;
};

/** The models that it is for. Errors: REQUEST_INVALID where the target names one without an image. */
export const requireModels = (
  named: readonly string[],
  images: readonly FirmwareRow[],
): readonly string[] => {
  if (images.length === 0) return named;
  const known = [...new Set(images.map(({ model }) => model))];
  const unknown = named.find((model) => !known.includes(model));
  if (unknown === undefined) return named.length === 0 ? known : named;
  throw new HoldfastError(
    'REQUEST_INVALID',
    `The target names the model ${unknown}, and the images are for ${known.join(', ')}`,
  );
};
