/** Cuts what is open to whoever holds no longer, on every door and at once: for a revoked certificate, and for a device out of service. */
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { Broker } from '../broker/broker.js';
import type { Lifecycles } from '../devices/lifecycles.js';
import type { HttpDoor, KnownCaller } from '../doors/local/http-door.js';
import type { SerialDoor } from '../doors/serial/serial-door.js';
import type { Identity } from './identity.js';
import type { Revocations } from './revocations.js';

export interface CutSessionsDependencies {
  readonly revocations: Pick<Revocations, 'onRevoked'>;
  readonly lifecycles: Pick<Lifecycles, 'onUnserved'>;
  readonly broker: Pick<Broker, 'cut' | 'disconnect' | 'forget'>;
  readonly devicesDoor: Pick<HttpDoor, 'cut'>;
  readonly serial: Pick<SerialDoor, 'refuse'>;
  readonly log: StoreLog;
}

/**
 * A revoked certificate loses its connections, and what waits for the device stays for the certificate that it comes back with; a
 * disabled device keeps it until it is enabled again; a retired or deleted one loses it.
 */
export const cutSessions = (deps: CutSessionsDependencies): void => {
  const { revocations, lifecycles, broker, devicesDoor, serial, log } = deps;
  revocations.onRevoked((revoked) => {
    const serials = new Set(revoked.map((one) => one.serial));
    const isToGo = (who: Identity | KnownCaller): boolean =>
      who.kind === 'device' && (serials.has(who.serial) || serials.has(who.issuerSerial));
    broker.cut(isToGo, 'CERTIFICATE_REVOKED');
    devicesDoor.cut(isToGo);
  });
  lifecycles.onUnserved(({ device, error, isGone }) => {
    broker.disconnect(device, error.code);
    devicesDoor.cut((who) => who.device === device);
    serial.refuse(device, error);
    if (!isGone) return;
    broker
      .forget(device, error.code)
      .catch((err: unknown) => log.warn({ err, device }, 'the sessions of a device stay'));
  });
};
