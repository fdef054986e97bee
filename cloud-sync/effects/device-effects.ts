/** What the journal says is known of devices now. */
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { ensureDevice } from '../devices/device-records.js';
import type { EffectRegistry, EntryProblem } from './effect-registry.js';

export interface DeviceEffectsDependencies {
  readonly effects: EffectRegistry;
}

export const registerDeviceEffects = ({ effects }: DeviceEffectsDependencies): void => {
  effects.register('state', 'device', async ({ tx, site, isFenced }, entries) => {
    const problems: EntryProblem[] = [];
    for (const { seq, body } of entries) {
      if (!isDeviceId(body.device)) {
        problems.push({ seq, problem: 'body: no device id' });
        continue;
      }
      await ensureDevice(tx, site, body.device, body);
      // Its successor has said since what is so now.
      if (isFenced) continue;
      await tx.db
        .updateTable('devices')
        .set({
          online: body.online ? 1 : 0,
          ...(body.last_seen === null ? {} : { last_seen_at: body.last_seen }),
          ...(body.firmware_version === null ? {} : { firmware_version: body.firmware_version }),
          ...(body.model === '' ? {} : { model: body.model }),
          door: body.door,
        })
        .where('site_id', '=', site)
        .where('device_id', '=', body.device)
        .execute();
    }
    return problems;
  });
};
