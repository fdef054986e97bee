/** The report of an import: a line for each line of the list. */
import { csvLine } from './csv.js';
import type { ImportRow } from './device-import.js';
import type { ShownClaim } from './show-claims.js';
import type { Column, Terminal } from './terminal.js';

/** The new code of a line, if it has one. */
export const claimOf = ({ code, site, device, model, expire_time }: ImportRow): ShownClaim[] =>
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

/** As CSV, with the codes. */
export const reportOf = (rows: readonly ImportRow[]): string =>
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

export const showReport = (
  terminal: Terminal,
  rows: readonly ImportRow[],
  files: readonly string[],
): void => {
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
