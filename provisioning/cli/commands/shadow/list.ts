import type { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import { inNaturalOrder } from '../../natural-order.js';
import { ago } from '../../terminal.js';
import { shadowSource } from './shadow-source.js';

export const addListCommand = (shadow: Command, context: () => CommandContext): void => {
  shadow
    .command('list <device>')
    .description('the shadows of a device: the one without a name is -')
    .option('--site <id>', 'the site of the device')
    .action(async (device: string, { site }: { site?: string }) => {
      const from = context();
      const rows = await (await shadowSource(from)).list({ device, site });
      from.terminal.table(
        inNaturalOrder(rows, (row) => row.shadow),
        [
          { title: 'SHADOW', value: (row) => row.shadow },
          { title: 'VERSION', value: (row) => row.version },
          { title: 'CHANGED', value: (row) => ago(row.update_time, from.now()) },
          {
            title: 'CONFLICTS',
            value: (row) => row.conflicts,
            colour: (row) => ((row.conflicts ?? 0) > 0 ? 'yellow' : undefined),
          },
        ],
        `${device} has no shadow yet: it reports one, or holdfast shadow set ${device} KEY=VALUE makes it`,
      );
    });
};
