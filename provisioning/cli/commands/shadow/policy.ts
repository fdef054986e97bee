/** Who wins where the control plane and a site wrote one leaf unseen by each other. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type ConflictPolicy,
  type ConflictRule,
  ConflictWinner,
} from '@holdfast/protos/gen/holdfast/v1/shadows';
import type { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import type { Column, Terminal } from '../../terminal.js';

interface PolicyOptions {
  readonly site?: string;
  readonly clear?: boolean;
}

export const addPolicyCommand = (shadow: Command, context: () => CommandContext): void => {
  shadow
    .command('policy [rules...]')
    .description(
      'who wins conflicts: shows the rules, or sets them all, as: holdfast shadow policy desired.mode=site desired=cloud',
    )
    .option('--site <id>', 'of this site, whose rules count before those for every site')
    .option('--clear', 'no rules: the later write wins')
    .addHelpText(
      'after',
      '\nA rule is PATH=cloud, site or latest, and holds for what is below the path too; * stands for any one key, and SHADOW:PATH is of a\nnamed shadow (-: the one without a name) alone. The first rule that matches counts.',
    )
    .action(async (rules: string[], { site = '-', clear = false }: PolicyOptions) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const { shadows } = client;
      const name = `sites/${site}/conflictPolicy`;
      if (rules.length === 0 && !clear) {
        const policy = await client.call(shadows, shadows.getConflictPolicy, { name });
        showPolicy(terminal, policy, site);
        return;
      }
      if (rules.length > 0 && clear) {
        throw new HoldfastError('REQUEST_INVALID', '--clear takes no rules');
      }
      const policy = await client.call(shadows, shadows.updateConflictPolicy, {
        policy: { name, rules: rules.map(parseRule), etag: '', updateTime: undefined },
        updateMask: ['rules'],
      });
      showPolicy(terminal, policy, site);
      terminal.line(
        terminal.paint('dim', 'it counts as soon as the plan that holds it is applied at the site'),
      );
    });
};

const winners = {
  cloud: ConflictWinner.CONFLICT_WINNER_CLOUD,
  site: ConflictWinner.CONFLICT_WINNER_SITE,
  latest: ConflictWinner.CONFLICT_WINNER_LATEST,
} as const;

/** Errors: REQUEST_INVALID. */
export const parseRule = (text: string): ConflictRule => {
  const [, shadow = '', path = '', winner = ''] = /^(?:([^:=]*):)?([^=]+)=(\w+)$/.exec(text) ?? [];
  if (Object.hasOwn(winners, winner)) {
    return { shadow, path, winner: winners[winner as keyof typeof winners] };
  }
  throw new HoldfastError(
    'REQUEST_INVALID',
    `'${text}' is no rule: write PATH=cloud, PATH=site or PATH=latest, as desired.mode=site`,
  );
};

const columns: readonly Column<ConflictRule>[] = [
  { title: 'SHADOW', value: ({ shadow }) => (shadow === '' ? 'every' : shadow) },
  { title: 'PATH', value: ({ path }) => path },
  { title: 'WINS', value: ({ winner }) => winnerName(winner), colour: () => 'green' },
];

const winnerName = (winner: ConflictWinner): string =>
  Object.entries(winners).find(([, value]) => value === winner)?.[0] ?? 'unknown';

const showPolicy = (terminal: Terminal, { rules, etag }: ConflictPolicy, site: string): void => {
  if (terminal.isJson) {
    const named = rules.map(({ shadow, path, winner }) => ({
      ...(shadow === '' ? {} : { shadow }),
      ...{ path, winner: winnerName(winner) },
    }));
    terminal.json({ site, rules: named, etag });
    return;
  }
  const none =
    site === '-'
      ? 'No rules: the later write wins'
      : `No rules of its own: those for every site count (holdfast shadow policy)`;
  terminal.table(rules, columns, none);
};
