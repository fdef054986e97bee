/** Opens what keeps the certificates of devices from running out: who may renew, the renewal, and the end of what it replaced. */
import type { SitePolicy } from '@holdfast/protos/link/site-policy';
import type { Authority } from '@holdfast/provisioning/pki/issue';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { Schedule } from '@holdfast/provisioning/time/schedule';
import type { SiteStore } from '../store/site-store.js';
import { DeviceRenewal, type DeviceRenewalDependencies } from './device-renewal.js';
import {
  type IdentifyDependencies,
  type IdentifyDevice,
  identifyDevice,
} from './identify-device.js';
import type { Revocations } from './revocations.js';
import { Supersession } from './supersession.js';

export interface RenewalDependencies
  extends Pick<DeviceRenewalDependencies, 'known' | 'requireWritable'> {
  readonly site: SiteStore;
  readonly clock: Clock;
  readonly log: StoreLog;
  readonly siteCa: Authority;
  readonly revocations: Revocations;
  readonly policy: () => SitePolicy;
  readonly identifying: IdentifyDependencies;
  readonly schedule: Schedule;
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

export interface OpenedRenewal {
  readonly renewal: DeviceRenewal;
  /** Who a device is; notes the certificates that are in use. */
  readonly identify: IdentifyDevice;
  /** The same, also for a certificate that has expired: for its renewal alone. */
  readonly identifyForRenewal: IdentifyDevice;
}

const everyMinute = '* * * * *';
const daily = '53 3 * * *';

export const openRenewal = async (
  deps: RenewalDependencies,
  { supersededAfterMs }: { readonly supersededAfterMs?: number | undefined } = {},
): Promise<OpenedRenewal> => {
  const { identifying, schedule, onClose } = deps;
  const supersession = await Supersession.open(deps, {
    ...(supersededAfterMs !== undefined && { afterMs: supersededAfterMs }),
  });
  const check = schedule(everyMinute, () => supersession.check());
  const pruning = schedule(daily, () => supersession.prune());
  onClose('superseded certificates', async () => {
    await pruning.stop();
    await check.stop();
    await supersession.close();
  });
  const identify = identifyDevice(identifying);
  return {
    renewal: new DeviceRenewal(deps),
    identify: (socket) => {
      const identity = identify(socket);
      if (identity.kind === 'device') supersession.used(identity.serial);
      return identity;
    },
    identifyForRenewal: identifyDevice(identifying, { expiredForMs: Number.POSITIVE_INFINITY }),
  };
};
