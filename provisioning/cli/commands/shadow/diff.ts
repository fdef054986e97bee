import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { foldChanges, type LeafChange } from '@holdfast/protos/semantics/shadow-history';
import type { Command } from 'commander';
import { parseCount } from '../../arguments.js';
import type { CommandContext } from '../../context.js';
import { sectionsDiffer } from './shadow-difference.js';
import { choiceOf, type ShadowOptions, withShadowOptions } from './shadow-options.js';
import { type ShadowSource, shadowSource } from './shadow-source.js';
import { showLeaf } from './show-change.js';

interface DiffOptions extends ShadowOptions {
  readonly from?: number;
  readonly to?: number;
}

export const addDiffCommand = (shadow: Command, context: () => CommandContext): void => {
  withShadowOptions(
    shadow
      .command('diff <device>')
      .description(
        'what is desired against what is reported; or what changed between two versions',
      ),
  )
    .option('--from <version>', 'from this version', parseCount('from', 0))
    .option('--to <version>', 'to this version (the last)', parseCount('to', 0))
    .action(async (device: string, options: DiffOptions) => {
      const from = context();
      const { terminal } = from;
      const source = await shadowSource(from);
      const isBetween = options.from !== undefined || options.to !== undefined;
      const rows = isBetween
        ? await betweenVersions(source, device, options)
        : sectionsDiffer(await source.get(choiceOf(device, options)));
      terminal.json(rows);
      if (rows.length === 0) {
        const none = isBetween ? 'No difference' : 'Everything that is desired is reported';
        terminal.line(terminal.paint('dim', none));
      }
      for (const row of rows) showLeaf(terminal, row);
    });
};

const betweenVersions = async (
  source: ShadowSource,
  device: string,
  options: DiffOptions,
): Promise<readonly LeafChange[]> => {
  const { from: fromVersion = 0, to: toVersion } = options;
  if (toVersion !== undefined && toVersion < fromVersion) {
    throw new HoldfastError('REQUEST_INVALID', `--to ${toVersion} is before --from ${fromVersion}`);
  }
  const range = { since: undefined, path: undefined, fromVersion, toVersion, most: undefined };
  const { changes, completeAfter } = await source.changes(choiceOf(device, options), range);
  if (completeAfter > fromVersion) {
    throw new HoldfastError(
      'RESOURCE_NOT_FOUND',
      `the history of this shadow goes back to version ${completeAfter} alone`,
      { data: { next: `--from ${completeAfter}, or a later one` } },
    );
  }
  if (changes.length === 0 && fromVersion > 0) {
    const { version } = await source.get(choiceOf(device, options));
    if (fromVersion > version) {
      throw new HoldfastError(
        'RESOURCE_NOT_FOUND',
        `there is no version ${fromVersion} yet: it is ${version}`,
      );
    }
  }
  return foldChanges(changes.flatMap((change) => change.changes));
};
