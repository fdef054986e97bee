import type { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import { choiceOf, type ShadowOptions, withShadowOptions } from './shadow-options.js';
import { shadowSource } from './shadow-source.js';
import { showShadow } from './show-shadow.js';

export const addGetCommand = (shadow: Command, context: () => CommandContext): void => {
  withShadowOptions(
    shadow
      .command('get <device>')
      .description('what is desired, what was reported, and what differs'),
  ).action(async (device: string, options: ShadowOptions) => {
    const from = context();
    showShadow(from.terminal, await (await shadowSource(from)).get(choiceOf(device, options)));
  });
};
