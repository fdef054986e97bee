/** The rows of devices: known from the journal of their site, never made up here. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import type { ExpressionBuilder, Kysely, Selectable } from 'kysely';
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
  if (result.numInsertedOrUpdatedRows === 1n) await countDevice({ db }, site, 1);
};

/** Those that are shown: one that is deleted counts no more, whether its site has forgotten it or not. */
export const countDevice = async (
  { db }: Pick<WriteTransaction, 'db'>,
  site: string,
  change: 1 | -1,
): Promise<void> => {
  await db
    .updateTable('sites')
    .set((eb) => ({ device_count: eb('device_count', '+', change) }))
    .where('site_id', '=', site)
    .execute();
};

/** Which device of which site. */
export interface DeviceKey {
  readonly site: string;
  readonly device: string;
}

/** Deleted here and not yet at its site: nobody is shown it any more. */
export const isRemoved = (eb: ExpressionBuilder<Schema, 'devices'>) =>
  eb.exists(
    eb
      .selectFrom('device_lives')
      .select('device_lives.device_id')
      .whereRef('device_lives.site_id', '=', 'devices.site_id')
      .whereRef('device_lives.device_id', '=', 'devices.device_id')
      .where('device_lives.is_removed', '=', 1),
  );

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
    .where((eb) => eb.not(isRemoved(eb)))
    .executeTakeFirst();
  if (row !== undefined) return row;
  throw new HoldfastError(
    'RESOURCE_NOT_FOUND',
    `There is no device ${device} at the site ${site}`,
    { data: { next: `holdfast device list --site ${site}` } },
  );
};

/**
 * Forgets a device whose site has forgotten it. What other parts keep of it refers to its row and goes with it, but for its shadows: the
 * merge needs what was merged before, should the id come back.
 */
export const deleteDevice = async (
  tx: WriteTransaction,
  { site, device }: DeviceKey,
): Promise<void> => {
  const { db } = tx;
  const wasShown =
    (await db
      .selectFrom('devices')
      .select('device_id')
      .where('site_id', '=', site)
      .where('device_id', '=', device)
      .where((eb) => eb.not(isRemoved(eb)))
      .executeTakeFirst()) !== undefined;
  for (const table of ['telemetry', 'devices'] as const) {
    await db
      .deleteFrom(table)
      .where('site_id', '=', site)
      .where('device_id', '=', device)
      .execute();
  }
  if (wasShown) await countDevice(tx, site, -1);
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
