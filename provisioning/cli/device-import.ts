/** What becomes of the devices of a list: at the control plane, or at a gateway while that is away. */
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  DeviceImportOutcome,
  type DeviceImportResult,
} from '@holdfast/protos/gen/holdfast/v1/enrollment';
import type { CloudClient } from './cloud-client.js';
import { claimsAtOnce, shownOf } from './commands/claims.js';
import type { BadLine, DeviceList, ListedDevice } from './device-list.js';
import { resolveSite } from './device-name.js';
import type { GatewayClient } from './gateway-client.js';

/** What became of one line. */
export interface ImportRow {
  readonly line: number;
  readonly site: string | undefined;
  readonly device: string;
  readonly model: string;
  /** `code`: it has a new one, here. `open`: it has one since before. */
  readonly outcome: 'code' | 'enrolled' | 'failed' | 'open' | 'would get a code';
  readonly code?: string;
  readonly expire_time?: Date | undefined;
  readonly error?: string;
  readonly next?: string;
}

export interface ImportOptions {
  /** Of the lines that name none. */
  readonly site?: string;
  readonly dryRun?: boolean;
  readonly renewCodes?: boolean;
  /** How long the codes last. */
  readonly days?: number;
}

const daySeconds = 86_400;

export const importThroughCloud = async (
  client: CloudClient,
  { devices }: DeviceList,
  { site, dryRun, renewCodes, days }: ImportOptions,
): Promise<ImportRow[]> => {
  const fallback = devices.every((device) => device.site !== undefined)
    ? ''
    : await resolveSite(client, site, '--site SITE, or a column `site`');
  const bySite = new Map<string, ListedDevice[]>();
  for (const device of devices) {
    const of = device.site ?? fallback;
    bySite.set(of, [...(bySite.get(of) ?? []), device]);
  }
  const request = {
    lifetimeSeconds: (days ?? 0) * daySeconds,
    renewCodes: renewCodes === true,
    validateOnly: dryRun === true,
  };
  const rows: ImportRow[] = [];
  for (const [of, all] of bySite) {
    for (let first = 0; first < all.length; first += claimsAtOnce) {
      const batch = all.slice(first, first + claimsAtOnce);
      rows.push(...(await importBatch(client, of, batch, request, rows.length === 0)));
    }
  }
  return rows;
};

/**
 * A request that fails as a whole fails its lines and no others: what came before it has codes that nobody shows again. Only the first
 * one throws when nobody answers.
 */
const importBatch = async (
  client: CloudClient,
  site: string,
  batch: readonly ListedDevice[],
  options: { lifetimeSeconds: number; renewCodes: boolean; validateOnly: boolean },
  isFirst: boolean,
): Promise<ImportRow[]> => {
  const devices = batch.map(({ device, model, serialNo, labels }) => ({
    deviceId: device,
    model,
    serialNo,
    labels: { ...labels },
  }));
  try {
    const { results } = await client.call(client.enrollment, client.enrollment.importDevices, {
      parent: `sites/${site}`,
      devices,
      ...options,
    });
    return batch.map((listed, index) => rowOf(listed, site, results[index], options.validateOnly));
  } catch (error) {
    if (!isHoldfastError(error) || (error.isRetryable && isFirst)) throw error;
    const next =
      error.code === 'RESOURCE_NOT_FOUND' ? 'see: holdfast site list' : 'import the list again';
    return batch.map((listed) => ({
      ...head(listed, site),
      outcome: 'failed',
      error: error.message,
      next,
    }));
  }
};

const head = ({ line, device, model }: ListedDevice, site: string | undefined) => ({
  line,
  site,
  device,
  model,
});

const rowOf = (
  listed: ListedDevice,
  site: string,
  result: DeviceImportResult | undefined,
  isDryRun: boolean,
): ImportRow => {
  const row = head(listed, site);
  const claim = result?.claimCode === undefined ? undefined : shownOf(result.claimCode);
  switch (result?.outcome) {
    case DeviceImportOutcome.DEVICE_IMPORT_OUTCOME_CODE_CREATED:
      return isDryRun
        ? { ...row, outcome: 'would get a code' }
        : { ...row, outcome: 'code', code: claim?.code ?? '', expire_time: claim?.expire_time };
    case DeviceImportOutcome.DEVICE_IMPORT_OUTCOME_CODE_OPEN:
      return {
        ...row,
        outcome: 'open',
        expire_time: claim?.expire_time,
        next: 'if its code was lost: --renew-codes',
      };
    case DeviceImportOutcome.DEVICE_IMPORT_OUTCOME_ENROLLED:
      return { ...row, outcome: 'enrolled' };
    default: {
      const error = result?.errorMessage ?? 'the control plane said nothing of it';
      return { ...row, outcome: 'failed', error, next: 'correct the line, then import again' };
    }
  }
};

/** Without the control plane: codes for what is not enrolled yet. Labels are the control plane's, and have to wait for it. */
export const importAtGateway = async (
  client: GatewayClient,
  { devices }: DeviceList,
  { dryRun, renewCodes, days }: ImportOptions,
): Promise<ImportRow[]> => {
  const { site } = await client.status();
  const enrolled = new Set((await client.listDevices()).map(({ device }) => device));
  const open = new Map((await client.listClaims()).map((claim) => [claim.device, claim]));
  const rows: ImportRow[] = [];
  const wanted: ListedDevice[] = [];
  for (const listed of devices) {
    const row = head(listed, site);
    const claim = open.get(listed.device);
    if (listed.site !== undefined && listed.site !== site) {
      const error = `it is for the site ${listed.site}, and this gateway's is ${site}`;
      rows.push({ ...row, outcome: 'failed', error, next: 'import it there' });
    } else if (enrolled.has(listed.device)) rows.push({ ...row, outcome: 'enrolled' });
    else if (claim !== undefined && claim.model === listed.model && renewCodes !== true) {
      const next = 'if its code was lost: --renew-codes';
      rows.push({ ...row, outcome: 'open', expire_time: claim.expire_time, next });
    } else if (dryRun === true) rows.push({ ...row, outcome: 'would get a code' });
    else {
      if (claim !== undefined) await client.deleteClaim(claim.claim);
      wanted.push(listed);
    }
  }
  const made = await client.createClaims(wanted, (days ?? 0) * daySeconds);
  for (const [index, listed] of wanted.entries()) {
    const { code = '', expire_time } = made[index] ?? {};
    rows.push({ ...head(listed, site), outcome: 'code', code, expire_time });
  }
  return rows;
};

export const failedRow = ({ line, device, problem, next }: BadLine): ImportRow => ({
  line,
  site: undefined,
  device,
  model: '',
  outcome: 'failed',
  error: problem,
  next,
});
