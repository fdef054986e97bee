/** Changes what people call a device, with all that goes by it: groups, and the campaigns that are for them. */
import { joinByGroups } from '../campaigns/campaign-groups.js';
import { labelsChanged } from '../groups/group-members.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import { type DeviceKey, parseLabels } from './device-records.js';

/** `labels` are as `requireLabels` makes them. Whether they are others than before; then the caller asks for the site's plan. */
export const setLabels = async (
  tx: WriteTransaction,
  { site, device }: DeviceKey,
  labels: string,
): Promise<boolean> => {
  const { numUpdatedRows } = await tx.db
    .updateTable('devices')
    .set((eb) => ({ labels, version: eb('version', '+', 1) }))
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .where('labels', '!=', labels)
    .executeTakeFirst();
  if (numUpdatedRows === 0n) return false;
  const joined = await labelsChanged(tx, { site, device }, parseLabels(labels));
  await joinByGroups(tx, site, joined);
  return true;
};
