import type { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import { followShadow } from './follow-shadow.js';
import { choiceOf, type ShadowOptions, withShadowOptions } from './shadow-options.js';
import { shadowSource } from './shadow-source.js';
import { showChange } from './show-change.js';

export const addWatchCommand = (shadow: Command, context: () => CommandContext): void => {
  withShadowOptions(
    shadow
      .command('watch <device>')
      .description('every change as it happens, until Ctrl-C; with --json one line each'),
  ).action(async (device: string, options: ShadowOptions) => {
    const from = context();
    const { terminal, signal } = from;
    const source = await shadowSource(from);
    const choice = choiceOf(device, options);
    const say = (text: string): void => {
      if (!terminal.isJson) terminal.error.write(`${terminal.paint('dim', text)}\n`);
    };
    const events = followShadow((after, stop) => source.watch(choice, after, stop), signal);
    for await (const event of events) {
      if (event.kind === 'change') {
        terminal.json(event.change);
        showChange(terminal, event.change);
      } else if (event.kind === 'missed') {
        terminal.json({
          missed: { after_version: event.afterVersion, to_version: event.toVersion },
        });
        terminal.line(
          terminal.paint(
            'yellow',
            `! missed what changed after version ${event.afterVersion} up to ${event.toVersion}`,
          ),
        );
      } else if (event.kind === 'watching') say(`version ${event.version}; Ctrl-C ends this`);
      else if (event.kind === 'lost')
        say(
          `the connection is lost (${event.reason}); again in ${Math.ceil(event.delayMs / 1_000)} s`,
        );
    }
  });
};
