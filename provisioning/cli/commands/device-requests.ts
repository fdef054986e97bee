/** `holdfast command`: one request to one device, with its response. */
import {
  CommandState,
  commandStateToJSON,
  type Command as DeviceCommand,
} from '@holdfast/protos/gen/holdfast/v1/commands';
import type { Command } from 'commander';
import * as v from 'valibot';
import { parseCount, parseJsonObject } from '../arguments.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { deviceAtGateway, resolveDeviceName } from '../device-name.js';
import { ago, type Terminal } from '../terminal.js';
import { idOf } from './sites.js';

export const addDeviceRequestCommands = (program: Command, context: () => CommandContext): void => {
  const command = program.command('command').description('commands to single devices');

  command
    .command('send <device> <type> [payload]')
    .description('send a command, as: holdfast command send farm/pump-1 reboot')
    .option('--site <id>', 'the site of the device')
    .option('--expires <seconds>', 'give up after (3600)', parseCount('expires', 1))
    .action(
      async (
        device: string,
        type: string,
        payload: string | undefined,
        options: { site?: string; expires?: number },
      ) => {
        const { terminal, cloud, gateway, asksGateway, now } = context();
        const lifetimeMs = (options.expires ?? 3600) * 1000;
        const body = parseJsonObject(payload, 'the payload');
        if (asksGateway) {
          const client = await gateway();
          const id = await deviceAtGateway(client, device, options.site);
          const sent = await client.post(`/devices/${encodeURIComponent(id)}/commands`, {
            type,
            payload: body,
            expires_at: now() + lifetimeMs,
          });
          terminal.json(sent);
          terminal.line(`${terminal.paint('green', '✓')} committed at the gateway`);
          terminal.line(`  next: holdfast --gateway command list ${device}`);
          return;
        }
        const client = await cloud();
        const created = await client.call(client.commands, client.commands.createCommand, {
          parent: await resolveDeviceName(client, device, options.site),
          commandId: '',
          command: {
            name: '',
            type,
            payload: body,
            state: CommandState.COMMAND_STATE_UNSPECIFIED,
            response: undefined,
            error: '',
            createTime: undefined,
            expireTime: new Date(now() + lifetimeMs),
            responseTime: undefined,
          },
        });
        terminal.json({ ...created, state: stateOf(created) });
        terminal.line(`${terminal.paint('green', '✓')} command ${idOf(created.name)}`);
        terminal.line(`  next: holdfast command list ${device}`);
      },
    );

  command
    .command('list <device>')
    .description('the commands to a device, with their responses')
    .option('--site <id>', 'the site of the device')
    .action(async (device: string, options: { site?: string }) => {
      const { terminal, cloud, gateway, asksGateway, now } = context();
      const show = (rows: readonly ShownCommand[]) => showCommands(terminal, rows, now());
      if (asksGateway) {
        const client = await gateway();
        const id = await deviceAtGateway(client, device, options.site);
        const answer = await client.get(`/devices/${encodeURIComponent(id)}/commands`);
        show(v.parse(siteCommands, answer).commands.map(shownOf));
        return;
      }
      const client = await cloud();
      const parent = await resolveDeviceName(client, device, options.site);
      const commands = await collect(
        eachPage(async (pageToken) => {
          const page = await client.call(client.commands, client.commands.listCommands, {
            parent,
            pageSize: 1000,
            pageToken,
          });
          return { items: page.commands, nextPageToken: page.nextPageToken };
        }),
      );
      show(commands.map((row) => ({ ...row, state: stateOf(row) })));
    });
};

type ShownCommand = Pick<
  DeviceCommand,
  'name' | 'type' | 'createTime' | 'expireTime' | 'response' | 'error'
> & { readonly state: string };

const showCommands = (terminal: Terminal, rows: readonly ShownCommand[], now: number): void =>
  terminal.table(
    rows,
    [
      { title: 'COMMAND', value: (row) => idOf(row.name) },
      { title: 'TYPE', value: (row) => row.type },
      { title: 'STATE', value: (row) => row.state },
      { title: 'SENT', value: (row) => ago(row.createTime, now) },
      { title: 'RESPONSE', value: responseOf },
    ],
    'No commands yet: holdfast command send DEVICE TYPE',
  );

const siteCommands = v.object({
  commands: v.array(
    v.looseObject({
      device: v.string(),
      command: v.string(),
      type: v.string(),
      state: v.string(),
      response: v.unknown(),
      error: v.nullable(v.string()),
      created_at: v.number(),
      expires_at: v.number(),
    }),
  ),
});

const shownOf = (
  command: v.InferOutput<typeof siteCommands>['commands'][number],
): ShownCommand => ({
  name: `devices/${command.device}/commands/${command.command}`,
  type: command.type,
  state: command.state,
  response: command.response ?? undefined,
  error: command.error ?? '',
  createTime: new Date(command.created_at),
  expireTime: new Date(command.expires_at),
});

const stateOf = (command: DeviceCommand): string =>
  commandStateToJSON(command.state).replace('COMMAND_STATE_', '').toLowerCase();

const responseOf = (command: Pick<DeviceCommand, 'error' | 'response'>): string | undefined => {
  if (command.error !== '') return command.error;
  return command.response === undefined ? undefined : JSON.stringify(command.response);
};
