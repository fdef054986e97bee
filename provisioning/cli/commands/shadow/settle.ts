import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type ConflictKeep, isConflictKeep } from '@holdfast/protos/semantics/conflict-settlement';
import type { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import {
  choiceOf,
  parsePath,
  pathText,
  type ShadowOptions,
  withShadowOptions,
} from './shadow-options.js';
import { shadowSource } from './shadow-source.js';

export const addSettleCommand = (shadow: Command, context: () => CommandContext): void => {
  withShadowOptions(
    shadow
      .command('settle <device> <path>')
      .description(
        'end a conflict, as: holdfast shadow settle farm/pump-1 desired.mode --keep loser',
      )
      .requiredOption(
        '--keep <side>',
        'winner: what stands there; loser: what lost, again',
        parseKeep,
      )
      .option('--conflict <id>', 'which one, where several are open there'),
  ).action(
    async (
      device: string,
      pathGiven: string,
      options: ShadowOptions & { keep: ConflictKeep; conflict?: string },
    ) => {
      const from = context();
      const { terminal } = from;
      const path = parsePath(pathGiven);
      const source = await shadowSource(from);
      const { keep, conflict } = options;
      const settled = await source.settle(choiceOf(device, options), { path, keep, conflict });
      terminal.json(settled);
      terminal.line(
        `${terminal.paint('green', '✓')} ${pathText(path)}: the ${keep} is kept; version ${settled.version}, ${source.whenItReaches}`,
      );
    },
  );
};

const parseKeep = (text: string): ConflictKeep => {
  if (isConflictKeep(text)) return text;
  throw new HoldfastError('REQUEST_INVALID', `--keep is winner or loser, not '${text}'`);
};
