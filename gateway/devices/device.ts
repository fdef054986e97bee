/** A device of the site, as the gateway knows it. */
import type { Door } from './device-events.js';

export interface Device {
  readonly device: string;
  /** Empty when it is not known: a database was made anew, and the device has not said it since. */
  readonly model: string;
  readonly serialNo: string;
  readonly door: Door;
  readonly firmwareVersion: string | null;
  /** The last run it was seen in by its own name: a boot id; null for devices that name none. */
  readonly boot: string | null;
  /** Its connection now; null while it is offline. The newest, where it has several. */
  readonly session: string | null;
  /** Epoch ms; null when it never was. */
  readonly lastSeen: number | null;
  readonly enrolledAt: number;
}

export const isOnline = ({ session }: Device): boolean => session !== null;

/** What may be learnt of a device from what it says. */
export type DeviceFacts = Partial<
  Pick<Device, 'model' | 'serialNo' | 'door' | 'firmwareVersion' | 'boot'>
>;
