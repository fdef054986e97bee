import type { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import { ago, type Column, type Terminal } from '../../terminal.js';
import { pathText } from './shadow-options.js';
import type { ConflictRow, WriteRow } from './shadow-rows.js';
import { shadowSource } from './shadow-source.js';
import { shortValue, shortWhen } from './show-change.js';

interface ConflictsOptions {
  readonly site?: string;
  readonly all?: boolean;
}

export const addConflictsCommand = (shadow: Command, context: () => CommandContext): void => {
  shadow
    .command('conflicts [device]')
    .description('leaves that two wrote without having seen each other')
    .option('--site <id>', 'only of this site')
    .option('--all', 'those that are settled as well (kept for 90 days)')
    .action(async (device: string | undefined, { site, all = false }: ConflictsOptions) => {
      const from = context();
      const { terminal } = from;
      const source = await shadowSource(from);
      const { conflicts, dropped } = await source.conflicts({ site, device, settled: all });
      const columns = all
        ? [...conflictColumns(from.now()), settledColumn]
        : conflictColumns(from.now());
      terminal.table(conflicts, columns, 'No conflicts');
      const sides = conflicts.flatMap(({ winner, loser }) => [winner, loser]);
      if (sides.some(({ trusted }) => !trusted)) {
        terminal.line(
          terminal.paint(
            'dim',
            '≥: the clock of who wrote it was not to be believed; it was written some time after this',
          ),
        );
      }
      if (dropped > 0) {
        terminal.line(
          terminal.paint(
            'yellow',
            `! ${dropped} open conflicts had to go, since more came up than are kept`,
          ),
        );
      }
      const open = conflicts.find(({ settlement }) => settlement === undefined);
      if (open !== undefined) showNext(terminal, open, from.asksGateway);
    });
};

const conflictColumns = (now: number): readonly Column<ConflictRow>[] => [
  { title: 'SHADOW', value: (row) => shadowText(row.shadow) },
  { title: 'LEAF', value: (row) => pathText(row.path) },
  { title: 'WON', value: ({ winner }) => sideText(winner, now), colour: () => 'green' },
  { title: 'LOST', value: ({ loser }) => sideText(loser, now), colour: () => 'yellow' },
  { title: 'FOUND', value: (row) => ago(row.detect_time, now) },
];

const settledColumn: Column<ConflictRow> = {
  title: 'SETTLED',
  value: ({ settlement }) => {
    if (settlement === undefined) return 'open';
    const kept = { winner: 'kept', loser: 'the lost one kept', other: 'written over' }[
      settlement.kept
    ];
    return `${kept} by ${settlement.by}`;
  },
  colour: ({ settlement }) => (settlement === undefined ? 'yellow' : 'dim'),
};

const sideText = (write: WriteRow, now: number): string => {
  const who = write.writer === '' ? '' : ` by ${write.writer}`;
  const when = shortWhen(write.time, write.trusted, now);
  const where = write.path === undefined ? '' : ` at ${pathText(write.path)}`;
  return `${shortValue(write.value_json)}${where}${who}${when === '' ? '' : `, ${when}`}`;
};

/** `devices/pump-1/shadows/-` as `pump-1`, `devices/pump-1/shadows/net` as `pump-1 net`; with the site where there is one. */
const shadowText = (shadow: string): string => {
  const parts = shadow.split('/');
  const name = parts.at(-1) ?? '';
  const device = parts.at(-3) ?? shadow;
  const site = parts[0] === 'sites' ? `${parts[1]}/` : '';
  return `${site}${device}${name === '-' ? '' : ` ${name}`}`;
};

const showNext = (terminal: Terminal, { shadow, path }: ConflictRow, atGateway: boolean): void => {
  const [device = '', name] = shadowText(shadow).split(' ');
  const place = pathText(path).includes('[') ? `'${pathText(path)}'` : pathText(path);
  const named = name === undefined ? '' : ` --name ${name}`;
  terminal.line();
  terminal.line(
    terminal.paint(
      'dim',
      `settle one: holdfast ${atGateway ? '--gateway ' : ''}shadow settle ${device} ${place}${named} --keep winner|loser`,
    ),
  );
};
