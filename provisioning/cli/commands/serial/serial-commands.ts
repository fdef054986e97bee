/** `holdfast --gateway serial …`: the serial lines and ports of a gateway, and what passes on them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { serialAnswer } from '@holdfast/protos/local/serial';
import { type Command, Option } from 'commander';
import * as v from 'valibot';
import type { CommandContext } from '../../context.js';
import type { GatewayClient } from '../../gateway-client.js';
import { type MonitorOptions, monitorLine } from './monitor.js';
import { showSerial } from './show-serial.js';

export const addSerialCommands = (program: Command, context: () => CommandContext): void => {
  const ask = async (): Promise<GatewayClient> => {
    const { gateway, asksGateway, argv } = context();
    if (asksGateway) return gateway();
    throw new HoldfastError('REQUEST_INVALID', 'only a gateway has serial lines to ask for', {
      data: { next: `holdfast --gateway ${argv.join(' ')}` },
    });
  };
  const serial = program
    .command('serial')
    .description('the serial lines and ports of the gateway (with --gateway)');

  serial
    .command('list')
    .description('every port: what it is, who uses it, how it is, and what to do where it is down')
    .action(async () => {
      const answer = v.parse(serialAnswer, await (await ask()).get('/serial'));
      showSerial(context().terminal, answer);
    });

  serial
    .command('monitor <line>')
    .description(
      'what passes on a line, by its name or its device, until Ctrl-C; it disturbs nobody',
    )
    .addOption(
      new Option('--direction <direction>', 'what comes in, or what goes out, alone').choices([
        'in',
        'out',
      ]),
    )
    .option('--text', 'as text, a line at a time')
    .option('--hex', 'as bytes; by default what is no text is shown so')
    .action(async (line: string, options: MonitorOptions) => {
      await monitorLine(context(), await ask(), line, options);
    });
};
