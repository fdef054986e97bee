/** Devices as rows of site.db. */
import type { LifecycleState } from '@holdfast/protos/semantics/lifecycle';
import type { SqlValue, Statement } from '@holdfast/provisioning/storage/write';
import type { Device } from './device.js';
import type { Door } from './device-events.js';
import type { DeviceLifecycle } from './lifecycle.js';

export interface DeviceRow {
  readonly device: string;
  readonly model: string;
  readonly serial_no: string;
  readonly door: string;
  readonly firmware_version: string | null;
  readonly hardware: string | null;
  readonly boot: string | null;
  readonly online: number;
  readonly last_seen: number | null;
  readonly enrolled_at: number;
  readonly lifecycle: string;
  readonly lifecycle_since: number;
  readonly lifecycle_reason: string;
  readonly lifecycle_actor: string;
  readonly decided_wall: number;
  readonly decided_counter: number;
  readonly decided_by: string;
  readonly heard_at: number | null;
}

export const deviceOf = (row: DeviceRow): Device => ({
  device: row.device,
  model: row.model,
  serialNo: row.serial_no,
  // Only `insertDevice` and `updateDevice` write it.
  door: row.door as Door,
  firmwareVersion: row.firmware_version,
  hardware: row.hardware,
  boot: row.boot,
  session: row.online === 1 ? '' : null,
  lastSeen: row.last_seen,
  heardAt: row.heard_at,
  heardMs: null,
  enrolledAt: row.enrolled_at,
  lifecycle: {
    // `writeDevice` and `writeLifecycle` alone write it, of a LifecycleState.
    state: row.lifecycle as LifecycleState,
    since: row.lifecycle_since,
    reason: row.lifecycle_reason,
    actor: row.lifecycle_actor,
    decidedAt: { wall: row.decided_wall, counter: row.decided_counter },
    decidedBy: row.decided_by,
  },
});

/**
 * A device that is new, or what changed of one that is there; but for its lifecycle, which is written when it changes (`writeLifecycle`):
 * this is written a moment later, and must not bring back what was.
 */
export const writeDevice = (device: Device): Statement => {
  const { lifecycle } = device;
  return {
    sql: `INSERT INTO devices (device, model, serial_no, door, firmware_version, hardware, boot, online, last_seen,
            heard_at, enrolled_at, ${lifecycleColumns.join(', ')})
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ${lifecycleColumns.map(() => '?').join(', ')})
          ON CONFLICT (device) DO UPDATE SET model = excluded.model, serial_no = excluded.serial_no,
            door = excluded.door, firmware_version = excluded.firmware_version,
            hardware = excluded.hardware, boot = excluded.boot, online = excluded.online,
            last_seen = excluded.last_seen, heard_at = excluded.heard_at, enrolled_at = excluded.enrolled_at`,
    params: [
      device.device,
      device.model,
      device.serialNo,
      device.door,
      device.firmwareVersion,
      device.hardware,
      device.boot,
      device.session === null ? 0 : 1,
      device.lastSeen,
      device.heardAt,
      device.enrolledAt,
      ...lifecycleValues(lifecycle),
    ],
  };
};

export const writeLifecycle = ({ device, lifecycle }: Device): Statement => ({
  sql: `UPDATE devices SET ${lifecycleColumns.map((column) => `${column} = ?`).join(', ')}
        WHERE device = ?`,
  params: [...lifecycleValues(lifecycle), device],
});

export const removeDevice = (device: string): Statement => ({
  sql: 'DELETE FROM devices WHERE device = ?',
  params: [device],
});

const lifecycleColumns = [
  'lifecycle',
  'lifecycle_since',
  'lifecycle_reason',
  'lifecycle_actor',
  'decided_wall',
  'decided_counter',
  'decided_by',
];

const lifecycleValues = (lifecycle: DeviceLifecycle): readonly SqlValue[] => [
  lifecycle.state,
  lifecycle.since,
  lifecycle.reason,
  lifecycle.actor,
  lifecycle.decidedAt.wall,
  lifecycle.decidedAt.counter,
  lifecycle.decidedBy,
];
