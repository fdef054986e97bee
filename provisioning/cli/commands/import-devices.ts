/** `holdfast device import`: many devices by a CSV list, with a report of every line. */
import { readFile } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import { parseCount } from '../arguments.js';
import type { CommandContext } from '../context.js';
import {
  failedRow,
  type ImportOptions,
  importAtGateway,
  importThroughCloud,
} from '../device-import.js';
import { parseDeviceList } from '../device-list.js';
import { claimOf, reportOf, showReport } from '../import-report.js';
import { openLabelFiles } from '../labels/label-files.js';
import { openSecretFile } from '../secret-file.js';
import { labelOf } from '../show-claims.js';

interface CommandOptions extends ImportOptions {
  readonly out?: string;
  readonly labels?: string;
  readonly paper?: string;
}

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
    .action(async (file: string, options: CommandOptions) => {
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
      if (asksGateway && list.devices.some(({ labels }) => Object.keys(labels).length > 0)) {
        terminal.line(
          terminal.paint(
            'yellow',
            'The labels are not kept here: import the list in the cloud too',
          ),
        );
      }
      showReport(terminal, rows, [
        ...(options.out === undefined ? [] : [options.out]),
        ...(paths ?? []),
      ]);
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
