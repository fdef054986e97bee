/** `holdfast firmware keys`: who may sign firmware. Nothing here needs a network. */
import type { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import { addKey, createKey, initKeys } from './key-beginnings.js';
import { addKeyChanges } from './key-changes.js';
import { listKeys } from './key-list.js';
import { each, type SigningOptions, withSigningOptions } from './signing-options.js';

export const addKeysCommands = (firmware: Command, context: () => CommandContext): void => {
  const keys = firmware.command('keys').description('who may sign firmware; needs no network');

  withSigningOptions(keys.command('init'))
    .description('make the first root: who signs as root, and who says who signs releases')
    .option('--root <name>', 'a key that signs as root; may be given more than once', each)
    .option('--root-threshold <n>', 'how many of them must sign')
    .option('--targets <name>', 'a key that signs delegations; may be given more than once', each)
    .option('--targets-threshold <n>', 'how many of them must sign')
    .option('--expires-days <n>', 'until when the root and the delegations hold', '730')
    .action((options) => initKeys(context(), options));

  withSigningOptions(keys.command('create <name>'))
    .description('make a key, for a role or for images; its public half is NAME.pub')
    .option('--rsa', 'RSA with 4096 bits, for images of devices that know no Ed25519')
    .action((name: string, options) => createKey(context(), name, options));

  withSigningOptions(keys.command('add <name>'))
    .description('let one more key sign as a role; it is made, unless there is one of that name')
    .requiredOption('--role <role>', 'root, targets, or a delegated role')
    .option('--public <file>', 'the public half of a key that is held elsewhere')
    .option('--threshold <n>', 'how many keys of the role must sign from now on')
    .action((name: string, options) => addKey(context(), name, options));

  addKeyChanges(keys, context);

  withSigningOptions(keys.command('list'))
    .description('every role: its keys, how many must sign, until when it holds')
    .action((options: SigningOptions) => listKeys(context(), options));
};
