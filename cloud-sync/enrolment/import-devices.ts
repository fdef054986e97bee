/**
 * Prepares devices by a list: each that is not enrolled gets a code bound to its id and model; its labels wait with the code, or are
 * set at once where it is enrolled. An item that is wrong fails alone, and the same list again does nothing twice.
 */
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type DeviceImport,
  DeviceImportOutcome,
  type DeviceImportResult,
} from '@holdfast/protos/gen/holdfast/v1/enrollment';
import type { Kysely } from 'kysely';
import { requireId } from '../api/resource-name.js';
import { setLabels } from '../devices/device-labels.js';
import { requireLabels } from '../devices/device-records.js';
import type { Schema } from '../store/schema.js';
import type { WriteTransaction } from '../store/sql-engine.js';
import {
  type ClaimRow,
  claimMessage,
  makeClaims,
  type NewClaim,
  openClaims,
  requireModel,
} from './claim-codes.js';

export interface ImportOptions {
  readonly site: string;
  readonly rootSha256: string;
  readonly now: number;
  /** Of new codes, epoch ms. */
  readonly expiresAt: number;
  readonly renewCodes: boolean;
  readonly validateOnly: boolean;
}

/** An item that can be imported. */
interface Wanted {
  readonly device: string;
  readonly model: string;
  readonly serialNo: string;
  readonly labels: string;
}

const longestSerialNo = 128;

/** One result an item, in their order. Errors: RESOURCE_STATE_WRONG when the site would have too many open codes. */
export const importDevices = async (
  tx: WriteTransaction,
  options: ImportOptions,
  items: readonly DeviceImport[],
): Promise<DeviceImportResult[]> => {
  const { site, now, rootSha256 } = options;
  const seen = new Set<string>();
  const results: DeviceImportResult[] = [];
  const wantedCodes = new Map<number, NewClaim>();
  for (const item of items) {
    try {
      const wanted = requireItem(item);
      if (seen.has(wanted.device)) {
        throw new HoldfastError('REQUEST_INVALID', `${wanted.device} stands in the list twice`);
      }
      seen.add(wanted.device);
      const { newClaim, ...result } = await importOne(tx, options, wanted);
      if (newClaim !== undefined) wantedCodes.set(results.length, newClaim);
      results.push(result);
    } catch (error) {
      if (!isHoldfastError(error, 'REQUEST_INVALID')) throw error;
      results.push({
        ...nothing,
        deviceId: item.deviceId.slice(0, 64),
        outcome: DeviceImportOutcome.DEVICE_IMPORT_OUTCOME_FAILED,
        errorCode: error.code,
        errorMessage: error.message,
      });
    }
  }
  const made = await makeClaims(tx, { site, rootSha256, now }, [...wantedCodes.values()]);
  const codes = new Map([...wantedCodes.keys()].map((index, n) => [index, made[n]]));
  return results.map((result, index) => ({
    ...result,
    claimCode: codes.get(index) ?? result.claimCode,
  }));
};

const nothing = { claimCode: undefined, errorCode: '', errorMessage: '' };

const importOne = async (
  tx: WriteTransaction,
  options: ImportOptions,
  wanted: Wanted,
): Promise<DeviceImportResult & { readonly newClaim?: NewClaim }> => {
  const { site, now, expiresAt, renewCodes, validateOnly } = options;
  const { device, model, serialNo, labels } = wanted;
  const result = (outcome: DeviceImportOutcome, claimCode?: DeviceImportResult['claimCode']) => ({
    ...nothing,
    deviceId: device,
    outcome,
    claimCode,
  });
  if (await isEnrolled(tx.db, site, device)) {
    if (!validateOnly) await setLabels(tx, { site, device }, labels);
    return result(DeviceImportOutcome.DEVICE_IMPORT_OUTCOME_ENROLLED);
  }
  const open = await openFor(tx.db, options, device);
  const [first] = open;
  if (first !== undefined && first.model === model && !renewCodes) {
    if (!validateOnly) await setWaiting(tx.db, open, wanted);
    return result(DeviceImportOutcome.DEVICE_IMPORT_OUTCOME_CODE_OPEN, claimMessage(first));
  }
  const created = result(DeviceImportOutcome.DEVICE_IMPORT_OUTCOME_CODE_CREATED);
  if (validateOnly) return created;
  // One code a device: those before it are for another model, or were lost.
  for (const { hash } of open) {
    await tx.db
      .updateTable('claim_codes')
      .set({ deleted_at: now })
      .where('hash', '=', hash)
      .execute();
  }
  return { ...created, newClaim: { device, model, expiresAt, labels, serialNo } };
};

const requireItem = ({ deviceId, model, serialNo, labels }: DeviceImport): Wanted => {
  if (serialNo.length > longestSerialNo) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `serial_no has at most ${longestSerialNo} characters`,
    );
  }
  return {
    device: requireId(deviceId, 'device_id'),
    model: requireModel(model),
    serialNo,
    labels: requireLabels(labels),
  };
};

const isEnrolled = async (db: Kysely<Schema>, site: string, device: string): Promise<boolean> => {
  const row = await db
    .selectFrom('devices')
    .select('device_id')
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .executeTakeFirst();
  return row !== undefined;
};

const openFor = (
  db: Kysely<Schema>,
  { site, now }: ImportOptions,
  device: string,
): Promise<ClaimRow[]> =>
  openClaims(db, now)
    .selectAll()
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .orderBy('created_at', 'desc')
    .execute();

const setWaiting = async (
  db: Kysely<Schema>,
  open: readonly ClaimRow[],
  { labels, serialNo }: Wanted,
) => {
  for (const { hash } of open) {
    await db
      .updateTable('claim_codes')
      .set({ labels, serial_no: serialNo })
      .where('hash', '=', hash)
      .execute();
  }
};
