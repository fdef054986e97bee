import type { Command } from 'commander';
import { parseAssignments, parseCount } from '../../arguments.js';
import type { CommandContext } from '../../context.js';
import { choiceOf, type ShadowOptions, withShadowOptions } from './shadow-options.js';
import { shadowSource } from './shadow-source.js';

export const addSetCommand = (shadow: Command, context: () => CommandContext): void => {
  withShadowOptions(
    shadow
      .command('set <device> <assignments...>')
      .description(
        'change what is desired, as: holdfast shadow set farm/pump-1 interval=30 mode=null',
      ),
  )
    .option('--version <n>', 'only if it is still this version', parseCount('version', 1))
    .action(
      async (
        device: string,
        assignments: string[],
        options: ShadowOptions & { version?: number },
      ) => {
        const from = context();
        const { terminal } = from;
        const desired = parseAssignments(assignments);
        const source = await shadowSource(from);
        const updated = await source.set(choiceOf(device, options), desired, options.version);
        terminal.json(updated);
        const done = `${terminal.paint('green', '✓')} version ${updated.version}`;
        terminal.line(
          from.asksGateway
            ? `${done}, ${source.whenItReaches}`
            : `${done}; ${source.whenItReaches}`,
        );
      },
    );
};
