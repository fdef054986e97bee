/** What the journal says of devices: that they enrolled, and what is known of them now. */
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { ensureDevice } from '../devices/device-records.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import type { EffectRegistry, EntryProblem } from './effect-registry.js';

export interface DeviceEffectsDependencies {
  readonly effects: EffectRegistry;
  readonly plans: PlanPublisher;
}

export const registerDeviceEffects = ({ effects, plans }: DeviceEffectsDependencies): void => {
  effects.register('audit', 'device_enrolled', async ({ tx, site, now }, entries) => {
    const problems: EntryProblem[] = [];
    let usedCodes = 0n;
    for (const { seq, at, body } of entries) {
      if (!isDeviceId(body.device)) {
        problems.push({ seq, problem: 'body: no device id' });
        continue;
      }
      await ensureDevice(tx, site, body.device);
      await tx.db
        .updateTable('devices')
        .set({
          model: body.model,
          serial_no: body.serial_no,
          door: body.door,
          certificate_serial: body.certificate_serial,
          enrolled_at: at,
        })
        .where('site_id', '=', site)
        .where('device_id', '=', body.device)
        .execute();
      if (body.claim_hash === null) continue;
      const used = await tx.db
        .updateTable('claim_codes')
        .set({ used_at: now })
        .where('hash', '=', body.claim_hash)
        .where('site_id', '=', site)
        .where('used_at', 'is', null)
        .executeTakeFirst();
      usedCodes += used.numUpdatedRows;
    }
    // The plan names the codes that are still open.
    if (usedCodes > 0n) await plans.request(tx, [site]);
    return problems;
  });

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
