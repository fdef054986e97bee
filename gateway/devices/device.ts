/** A device of the site, as the gateway knows it. */
import { zeroTime } from '@holdfast/protos/semantics/hybrid-clock';
import type { Door } from './device-events.js';
import { bySite, type DeviceLifecycle } from './lifecycle.js';

export interface Device {
  readonly device: string;
  /** Empty when it is not known: a database was made anew, and the device has not said it since. */
  readonly model: string;
  readonly serialNo: string;
  readonly door: Door;
  readonly firmwareVersion: string | null;
  /** The revision of its hardware, as it says itself; null when it never did. */
  readonly hardware: string | null;
  /** The last run it was seen in by its own name: a boot id; null for devices that name none. */
  readonly boot: string | null;
  /** Its connection now; null while it is offline. The newest, where it has several. */
  readonly session: string | null;
  /** Epoch ms; null when it never was. */
  readonly lastSeen: number | null;
  /** When it was last heard by a clock that was trusted then, epoch ms; null when it never was. */
  readonly heardAt: number | null;
  /** The same by the monotonic clock of this run; null when it was not heard in it. */
  readonly heardMs: number | null;
  /** When it last got its identity here. */
  readonly enrolledAt: number;
  readonly lifecycle: DeviceLifecycle;
}

export const isOnline = ({ session }: Device): boolean => session !== null;

/** What may be learnt of a device from what it says. */
export type DeviceFacts = Partial<
  Pick<Device, 'model' | 'serialNo' | 'door' | 'firmwareVersion' | 'hardware' | 'boot'>
>;

export const newDevice = (device: string, door: Door, enrolledAt: number): Device => ({
  device,
  model: '',
  serialNo: '',
  door,
  firmwareVersion: null,
  hardware: null,
  boot: null,
  session: null,
  lastSeen: null,
  heardAt: null,
  heardMs: null,
  enrolledAt,
  lifecycle: {
    state: 'active',
    since: enrolledAt,
    reason: '',
    actor: bySite,
    decidedAt: zeroTime,
    decidedBy: '',
  },
});
