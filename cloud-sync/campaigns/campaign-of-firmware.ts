/** Which campaign needs a firmware, so that nobody deletes it meanwhile. */
import type { Kysely } from 'kysely';
import type { Schema } from '../store/schema.js';
import { liveStates } from './campaign-records.js';
import { imagesOfRow } from './campaign-row.js';

/** A campaign that is not over and installs the firmware; undefined when there is none. */
export const campaignWithFirmware = async (
  db: Kysely<Schema>,
  firmware: string,
): Promise<string | undefined> => {
  const live = await db
    .selectFrom('campaigns')
    .select(['campaign_id', 'firmware_id', 'images'])
    .where('state', 'in', liveStates)
    .execute();
  return live.find((row) => imagesOfRow(row).includes(firmware))?.campaign_id;
};
