/** The rows of devices: known from the journal of their site, never made up here. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../store/schema.js';
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
      confirmed_at: null,
      enrolment_problem: null,
      manufacturer_id: null,
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

/** Which device of which site. */
export interface DeviceKey {
  readonly site: string;
  readonly device: string;
}

/** Errors: RESOURCE_NOT_FOUND. */
export const requireDevice = async (
  db: Kysely<Schema>,
  { site, device }: DeviceKey,
): Promise<Selectable<Schema['devices']>> => {
  const row = await db
    .selectFrom('devices')
    .selectAll()
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .executeTakeFirst();
  if (row !== undefined) return row;
  throw new HoldfastError(
    'RESOURCE_NOT_FOUND',
    `There is no device ${device} at the site ${site}`,
    { data: { next: `holdfast device list --site ${site}` } },
  );
};

/**
 * Forgets a device. What other parts keep of it refers to its row and goes with it, but for its shadows: one that still speaks at its
 * site comes back with its next journal entry, and the merge needs what was merged before.
 */
export const deleteDevice = async (
  { db }: WriteTransaction,
  { site, device }: DeviceKey,
): Promise<void> => {
  await db
    .deleteFrom('telemetry')
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .execute();
  const result = await db
    .deleteFrom('devices')
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .executeTakeFirst();
  if (result.numDeletedRows !== 1n) return;
  await db
    .updateTable('sites')
    .set((eb) => ({ device_count: eb('device_count', '-', 1) }))
    .where('site_id', '=', site)
    .execute();
};

const mostLabels = 64;
const label = /^[\x20-\x7e\u00a0-\uffff]{1,256}$/;

/** Labels as they are stored: canonical JSON. Errors: REQUEST_INVALID. */
export const requireLabels = (labels: Readonly<Record<string, string>>): string => {
  const entries = Object.entries(labels);
  const isValid = entries.every(
    ([key, value]) => label.test(key) && (value === '' || label.test(value)),
  );
  if (entries.length <= mostLabels && isValid) return canonicalJson(Object.fromEntries(entries));
  throw new HoldfastError(
    'REQUEST_INVALID',
    `a device has at most ${mostLabels} labels, keys and values of up to 256 characters`,
  );
};

/** What `requireLabels` stored. */
export const parseLabels = (labels: string): Record<string, string> => JSON.parse(labels);
