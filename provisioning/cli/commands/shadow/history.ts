import type { Command } from 'commander';
import { parseCount } from '../../arguments.js';
import type { CommandContext } from '../../context.js';
import {
  choiceOf,
  parsePath,
  parseSince,
  type ShadowOptions,
  withShadowOptions,
} from './shadow-options.js';
import { shadowSource } from './shadow-source.js';
import { showChange, timeText } from './show-change.js';

interface HistoryOptions extends ShadowOptions {
  readonly since?: string;
  readonly path?: string;
  readonly count: number;
}

export const addHistoryCommand = (shadow: Command, context: () => CommandContext): void => {
  withShadowOptions(
    shadow
      .command('history <device>')
      .description(
        'what changed, who changed it, and when; the last at the end (kept for 30 days)',
      ),
  )
    .option('--since <time>', 'from then on: 90m, 36h, 7d, or a date')
    .option('--path <path>', 'only what is at this path or below it, as desired.mode')
    .option('--count <n>', 'the last so many', parseCount('count', 1), 50)
    .action(async (device: string, options: HistoryOptions) => {
      const from = context();
      const { terminal } = from;
      const { since, path, count } = options;
      const range = {
        since: since === undefined ? undefined : parseSince(since, from.now()),
        path: path === undefined ? undefined : parsePath(path),
        fromVersion: undefined,
        toVersion: undefined,
        most: count,
      };
      const source = await shadowSource(from);
      const { changes, hasMore, dropped } = await source.changes(choiceOf(device, options), range);
      terminal.json(changes);
      if (terminal.isJson) return;
      if (changes.length === 0) terminal.line(terminal.paint('dim', 'Nothing has changed'));
      if (hasMore) {
        terminal.line(terminal.paint('dim', `… earlier ones: --count ${count * 2}, or --since`));
      }
      for (const change of changes) showChange(terminal, change);
      if (dropped !== undefined) {
        terminal.line(
          terminal.paint(
            'yellow',
            `! ${dropped.changes} changes of all shadows, up to ${timeText(dropped.until)}, went before their time: the history had no room for them`,
          ),
        );
      }
    });
};
