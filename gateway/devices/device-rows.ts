/** Devices as rows of site.db. */
import type { Statement } from '@holdfast/provisioning/storage/write';
import type { Device } from './device.js';
import type { Door } from './device-events.js';

export interface DeviceRow {
  readonly device: string;
  readonly model: string;
  readonly serial_no: string;
  readonly door: string;
  readonly firmware_version: string | null;
  readonly boot: string | null;
  readonly online: number;
  readonly last_seen: number | null;
  readonly enrolled_at: number;
}

export const deviceOf = (row: DeviceRow): Device => ({
  device: row.device,
  model: row.model,
  serialNo: row.serial_no,
  // Only `insertDevice` and `updateDevice` write it.
  door: row.door as Door,
  firmwareVersion: row.firmware_version,
  boot: row.boot,
  session: row.online === 1 ? '' : null,
  lastSeen: row.last_seen,
  enrolledAt: row.enrolled_at,
});

export const writeDevice = (device: Device): Statement => ({
  sql: `INSERT INTO devices (device, model, serial_no, door, firmware_version, boot, online, last_seen,
          enrolled_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (device) DO UPDATE SET model = excluded.model, serial_no = excluded.serial_no,
          door = excluded.door, firmware_version = excluded.firmware_version, boot = excluded.boot,
          online = excluded.online, last_seen = excluded.last_seen`,
  params: [
    device.device,
    device.model,
    device.serialNo,
    device.door,
    device.firmwareVersion,
    device.boot,
    device.session === null ? 0 : 1,
    device.lastSeen,
    device.enrolledAt,
  ],
});
