/** Commands of the gateway's own program, under the names people look for: its keys and files belong to it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import type { CommandContext } from './context.js';

export interface BesideCommand {
  /** `doctor`, `plan [file]`. */
  readonly usage: string;
  readonly description: string;
}

/** Adds a command that runs the one of the same name of `holdfast-gateway`, with every flag as it was typed. */
export const addBeside = (
  group: Command,
  context: () => CommandContext,
  { usage, description }: BesideCommand,
): void => {
  const [name = ''] = usage.split(' ');
  group
    .command(usage)
    .description(description)
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText('after', '\nTakes every flag of holdfast-gateway, as --data and --json.')
    .action(async () => {
      const { argv } = context();
      process.exitCode = await runBeside(
        'holdfast-gateway',
        argumentsOf(argv, [group.name(), name]),
      );
    });
};

/** From the command on, as it was typed: a `--data` there is the gateway's folder, one before it that of the logins. */
export const argumentsOf = (
  typed: readonly string[],
  [group, name]: readonly [string, string],
): string[] => {
  const at = typed.findIndex((word, index) => word === name && typed[index - 1] === group);
  const isJson = typed.slice(0, at).includes('--json');
  return [...typed.slice(at), ...(isJson ? ['--json'] : [])];
};

const runBeside = async (bin: string, args: readonly string[]): Promise<number> => {
  // Installed together, they lie together; else the PATH knows.
  const sibling = join(dirname(process.argv[1] ?? ''), bin);
  const child = spawn(existsSync(sibling) ? sibling : bin, args, { stdio: 'inherit' });
  const [code] = await Promise.race([
    once(child, 'exit'),
    once(child, 'error').then(([error]) => {
      throw new HoldfastError('RESOURCE_NOT_FOUND', `${bin} is not installed on this machine`, {
        cause: error,
        data: { next: 'run this on the gateway itself' },
      });
    }),
  ]);
  return typeof code === 'number' ? code : 1;
};
