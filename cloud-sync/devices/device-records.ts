/** The rows of devices: known from the journal of their site, never made up here. */
import type { WriteTransaction } from '../store/sql-engine.js';

/** What is known of a device from whichever entry named it first. */
export interface KnownDevice {
  readonly model?: string;
  readonly serialNo?: string;
  readonly door?: string;
}

/**
 * Makes sure that a device has a row, for entries that may come before the one that introduces it: lanes are not ordered among each
 * other. Changes nothing of a row that is there.
 */
export const ensureDevice = async (
  { db }: WriteTransaction,
  site: string,
  device: string,
  known: KnownDevice = {},
): Promise<void> => {
  const result = await db
    .insertInto('devices')
    .values({
      site_id: site,
      device_id: device,
      model: known.model ?? '',
      serial_no: known.serialNo ?? '',
      firmware_version: null,
      online: 0,
      last_seen_at: null,
      enrolled_at: null,
      door: known.door ?? 'native',
      labels: '{}',
      certificate_serial: null,
      version: 1,
    })
    .onConflict((c) => c.columns(['site_id', 'device_id']).doNothing())
    .executeTakeFirst();
  if (result.numInsertedOrUpdatedRows !== 1n) return;
  await db
    .updateTable('sites')
    .set((eb) => ({ device_count: eb('device_count', '+', 1) }))
    .where('site_id', '=', site)
    .execute();
};
