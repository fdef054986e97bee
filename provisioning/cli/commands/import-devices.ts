/** `holdfast device import`: many devices by a CSV list, with a report of every line. */
import { readFile } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import {
  DeviceImportOutcome,
  type DeviceImportResult,
} from '@holdfast/protos/gen/holdfast/v1/enrollment';
import type { Command } from 'commander';
import { parseCount } from '../arguments.js';
import type { CloudClient } from '../cloud-client.js';
import type { CommandContext } from '../context.js';
import { csvLine } from '../csv.js';
import {
  type BadLine,
  type DeviceList,
  type ListedDevice,
  parseDeviceList,
} from '../device-list.js';
import { resolveSite } from '../device-name.js';
import type { GatewayClient } from '../gateway-client.js';
import { openLabelFiles } from '../labels/label-files.js';
import { openSecretFile } from '../secret-file.js';
import type { Column, Terminal } from '../terminal.js';
import { claimsAtOnce, labelOf, type ShownClaim, shownOf } from './claims.js';

/** What became of one line. */
interface ImportRow {
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

interface ImportOptions {
  readonly site?: string;
  readonly dryRun?: boolean;
  readonly renewCodes?: boolean;
  readonly days?: number;
  readonly out?: string;
  readonly labels?: string;
  readonly paper?: string;
}

const daySeconds = 86_400;

export const addImportCommand = (device: Command, context: () => CommandContext): void => {
  device
    .command('import <file>')
    .description('prepare the devices of a CSV list (id, model, labels…): a code for each')
    .option('--site <id>', 'of the lines that name none in a column `site`')
    .option('--dry-run', 'say what would be done, and do nothing')
    .option('--renew-codes', 'new codes for devices whose open ones were lost')
    .option(
      '--days <n>',
      'how long the codes last (30; made at a gateway 1)',
      parseCount('days', 1),
    )
    .option('--out <file>', 'the report with the codes as CSV')
    .option('--labels <file>', 'the new codes as a sheet of labels: .pdf or .svg')
    .option('--paper <size>', 'of the labels: a4 (24 labels) or letter (20)', 'a4')
    .addHelpText(
      'after',
      '\nGood lines go through beside bad ones. The same file again does nothing twice.',
    )
    .action(async (file: string, options: ImportOptions) => {
      const { terminal, asksGateway, gateway, cloud, readStandardInput } = context();
      const list = parseDeviceList(await readList(file, readStandardInput));
      // Before the codes are made: they are shown once.
      const out = options.out === undefined ? undefined : await openSecretFile(options.out);
      const labels =
        options.labels === undefined
          ? undefined
          : await openLabelFiles(options.labels, options.paper);
      const imported = asksGateway
        ? await importAtGateway(await gateway(), list, options)
        : await importThroughCloud(await cloud(), list, options);
      const rows = [...imported, ...list.bad.map(failedRow)].sort((a, b) => a.line - b.line);
      await out?.writeFile(reportOf(rows));
      await out?.close();
      const paths = await labels?.write(rows.flatMap(claimOf).map(labelOf));
      show(terminal, rows, [...(options.out === undefined ? [] : [options.out]), ...(paths ?? [])]);
      if (rows.some(({ outcome }) => outcome === 'failed')) process.exitCode = 1;
    });
};

const readList = async (file: string, readStandardInput: () => Promise<string>) => {
  if (file === '-') return readStandardInput();
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', `${file} cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
};

const importThroughCloud = async (
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
  const rows: ImportRow[] = [];
  for (const [of, all] of bySite) {
    for (let first = 0; first < all.length; first += claimsAtOnce) {
      const batch = all.slice(first, first + claimsAtOnce);
      rows.push(
        ...(await importBatch(client, of, batch, {
          lifetimeSeconds: (days ?? 0) * daySeconds,
          renewCodes: renewCodes === true,
          validateOnly: dryRun === true,
        })),
      );
    }
  }
  return rows;
};

/** A request that fails as a whole fails its lines, and no others. */
const importBatch = async (
  client: CloudClient,
  site: string,
  batch: readonly ListedDevice[],
  options: { lifetimeSeconds: number; renewCodes: boolean; validateOnly: boolean },
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
    if (!(error instanceof HoldfastError)) throw error;
    // Nobody is there to take the others either.
    if (error.isRetryable) throw error;
    const next =
      error.code === 'RESOURCE_NOT_FOUND' ? 'holdfast site list' : 'correct it, then import again';
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
const importAtGateway = async (
  client: GatewayClient,
  { devices }: DeviceList,
  { dryRun, renewCodes, days }: ImportOptions,
): Promise<ImportRow[]> => {
  const enrolled = new Set((await client.listDevices()).map(({ device }) => device));
  const open = new Map((await client.listClaims()).map((claim) => [claim.device, claim]));
  const rows: ImportRow[] = [];
  const wanted: ListedDevice[] = [];
  for (const listed of devices) {
    const row = head(listed, undefined);
    const claim = open.get(listed.device);
    if (enrolled.has(listed.device)) rows.push({ ...row, outcome: 'enrolled' });
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
    rows.push({ ...head(listed, undefined), outcome: 'code', code, expire_time });
  }
  return rows;
};

const failedRow = ({ line, device, problem, next }: BadLine): ImportRow => ({
  line,
  site: undefined,
  device,
  model: '',
  outcome: 'failed',
  error: problem,
  next,
});

const claimOf = ({ code, site, device, model, expire_time }: ImportRow): ShownClaim[] =>
  code === undefined || code === '' ? [] : [{ code, site, device, model, expire_time }];

const columns: readonly Column<ImportRow>[] = [
  { title: 'LINE', value: (row) => row.line },
  { title: 'DEVICE', value: (row) => (row.site ? `${row.site}/${row.device}` : row.device) },
  {
    title: 'OUTCOME',
    value: (row) => row.outcome,
    colour: (row) => (row.outcome === 'failed' ? 'red' : row.code ? 'green' : 'dim'),
  },
  { title: 'CODE', value: (row) => row.code || (row.error ?? untilOf(row)) },
  { title: 'NEXT', value: (row) => row.next ?? '' },
];

const untilOf = ({ expire_time }: ImportRow): string =>
  expire_time === undefined ? '' : `until ${expire_time.toISOString().slice(0, 10)}`;

const reportOf = (rows: readonly ImportRow[]): string =>
  [
    csvLine(['line', 'site', 'id', 'model', 'outcome', 'code', 'until', 'error', 'next']),
    ...rows.map((row) =>
      csvLine([
        String(row.line),
        row.site ?? '',
        row.device,
        row.model,
        row.outcome,
        row.code ?? '',
        row.expire_time?.toISOString() ?? '',
        row.error ?? '',
        row.next ?? '',
      ]),
    ),
  ].join('');

const show = (terminal: Terminal, rows: readonly ImportRow[], files: readonly string[]): void => {
  terminal.table(rows, columns, 'The list names no devices');
  const failed = rows.filter(({ outcome }) => outcome === 'failed').length;
  const made = rows.filter(({ code }) => code !== undefined).length;
  terminal.line(
    `${rows.length} lines: ${made} new codes, ${failed === 0 ? 'none' : terminal.paint('red', String(failed))} failed`,
  );
  if (files.length > 0) {
    terminal.line(`${terminal.paint('green', '✓')} ${files.join(', ')}`);
    terminal.line(terminal.paint('dim', 'whoever has these files can enrol the devices'));
  }
};
