/** `holdfast gateway`: the gateway of a site. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import { addSignInCommands } from './sign-in.js';
import { createGatewayCode } from './sites.js';

export const addGatewayCommands = (program: Command, context: () => CommandContext): void => {
  const gateway = program.command('gateway').description('the gateway of a site');

  gateway
    .command('code <site>')
    .description('print a new one-time code with which a gateway enrols')
    .option('--replace', 'grant the next epoch: the gateway that owns the site now will be fenced')
    .action(async (site: string, options: { replace?: boolean }) => {
      const { terminal, cloud } = context();
      const code = await createGatewayCode(await cloud(), site, options.replace === true);
      terminal.json(code);
      terminal.line(code.code);
      terminal.line(
        terminal.paint('dim', `valid once, until ${code.expireTime?.toISOString() ?? '?'}`),
      );
    });

  addSignInCommands(gateway, context);

  gateway
    .command('enroll <code>')
    .description('on the gateway itself: make its keys and take the site that the code is for')
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText('after', '\nTakes every flag of holdfast-gateway, as --data and --config.')
    .action(async () => {
      // The keys belong to the gateway's program; this is its own command under the name people look for.
      process.exitCode = await runBeside('holdfast-gateway', enrollArguments(context().argv));
    });
};

/** As they were typed after `enroll`: a `--data` there is the gateway's folder, not that of the logins. */
export const enrollArguments = (typed: readonly string[]): string[] => {
  const at = typed.findIndex((word, index) => word === 'enroll' && typed[index - 1] === 'gateway');
  return typed.slice(at);
};

const runBeside = async (bin: string, args: readonly string[]): Promise<number> => {
  const child = spawn(bin, args, { stdio: 'inherit' });
  const [code] = await Promise.race([
    once(child, 'exit'),
    once(child, 'error').then(([error]) => {
      throw new HoldfastError(
        'RESOURCE_NOT_FOUND',
        `${bin} is not installed here: run this on the gateway (${(error as Error).message})`,
        { cause: error },
      );
    }),
  ]);
  return typeof code === 'number' ? code : 1;
};
