/** `holdfast shadow`: what is desired of a device, and what it reported. */
import type { Command } from 'commander';
import { type JsonObject, parseAssignments, parseCount } from '../arguments.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { deviceAtGateway, resolveDeviceName } from '../device-name.js';
import type { Terminal } from '../terminal.js';

interface ShadowOptions {
  readonly site?: string;
  readonly name: string;
  readonly version?: number;
}

export const addShadowCommands = (program: Command, context: () => CommandContext): void => {
  const shadow = program.command('shadow').description('desired and reported state of a device');

  shadow
    .command('get <device>')
    .description('what is desired, what was reported, and what differs')
    .option('--site <id>', 'the site of the device')
    .option('--name <shadow>', 'a named shadow', '-')
    .action(async (device: string, options: ShadowOptions) => {
      const { terminal, cloud, gateway, asksGateway } = context();
      if (asksGateway) {
        const client = await gateway();
        const id = await deviceAtGateway(client, device, options.site);
        const found = await client.getShadow(id, options.name);
        showShadow(terminal, found);
        return;
      }
      const client = await cloud();
      const name = await resolveDeviceName(client, device, options.site);
      const found = await client.call(client.shadows, client.shadows.getShadow, {
        name: `${name}/shadows/${options.name}`,
      });
      showShadow(terminal, { ...found, version: Number(found.version) });
    });

  shadow
    .command('set <device> <assignments...>')
    .description(
      'change what is desired, as: holdfast shadow set farm/pump-1 interval=30 mode=null',
    )
    .option('--site <id>', 'the site of the device')
    .option('--name <shadow>', 'a named shadow', '-')
    .option('--version <n>', 'only if it is still this version', parseCount('version', 1))
    .action(async (device: string, assignments: string[], options: ShadowOptions) => {
      const { terminal, cloud, gateway, asksGateway } = context();
      const desired = parseAssignments(assignments);
      if (asksGateway) {
        const client = await gateway();
        const updated = await client.updateShadow(
          await deviceAtGateway(client, device, options.site),
          options.name,
          desired,
          options.version,
        );
        terminal.json(updated);
        terminal.line(`${terminal.paint('green', '✓')} version ${updated.version}, at the gateway`);
        return;
      }
      const client = await cloud();
      const name = await resolveDeviceName(client, device, options.site);
      const updated = await client.call(client.shadows, client.shadows.updateShadow, {
        name: `${name}/shadows/${options.name}`,
        desired,
        version: options.version === undefined ? undefined : BigInt(options.version),
      });
      terminal.json(updated);
      terminal.line(
        `${terminal.paint('green', '✓')} version ${updated.version}; it reaches the device when its site is in contact`,
      );
    });

  shadow
    .command('conflicts')
    .description('leaves that two wrote without having seen each other')
    .option('--site <id>', 'only of this site')
    .action(async (options: { site?: string }) => {
      const { terminal, cloud, gateway, asksGateway } = context();
      const conflicts = asksGateway
        ? await (await gateway()).listConflicts()
        : await conflictsInCloud(await cloud(), options.site);
      terminal.table(
        conflicts,
        [
          { title: 'SHADOW', value: (row) => row.shadow },
          { title: 'LEAF', value: (row) => row.path.join('.') },
          {
            title: 'WON',
            value: (row) => `${row.winner.value_json || 'deleted'} by ${row.winner.writer}`,
          },
          {
            title: 'LOST',
            value: (row) => `${row.loser.value_json || 'deleted'} by ${row.loser.writer}`,
          },
        ],
        'No conflicts',
      );
    });
};

/** A shadow as both APIs show it. */
export interface ShadowRow {
  readonly desired?: JsonObject | undefined;
  readonly reported?: JsonObject | undefined;
  readonly delta?: JsonObject | undefined;
  readonly version: number;
}

export interface ConflictRow {
  readonly shadow: string;
  readonly path: readonly string[];
  readonly winner: { readonly writer: string; readonly value_json: string };
  readonly loser: { readonly writer: string; readonly value_json: string };
}

const showShadow = (terminal: Terminal, shadow: ShadowRow): void => {
  terminal.json(shadow);
  terminal.line(terminal.paint('dim', `version ${shadow.version}`));
  for (const section of ['desired', 'reported', 'delta'] as const) {
    const state = shadow[section];
    if (state === undefined || Object.keys(state).length === 0) continue;
    const colour = section === 'delta' ? 'yellow' : 'bold';
    terminal.line(terminal.paint(colour, section === 'delta' ? 'differs' : section));
    terminal.line(JSON.stringify(state, null, 2).replace(/^/gm, '  '));
  }
};

const conflictsInCloud = (
  client: Awaited<ReturnType<CommandContext['cloud']>>,
  site: string | undefined,
): Promise<ConflictRow[]> =>
  collect(
    eachPage(async (pageToken) => {
      const page = await client.call(client.shadows, client.shadows.listConflicts, {
        parent: `sites/${site ?? '-'}`,
        pageSize: 1000,
        pageToken,
        includeSettled: false,
      });
      const items = page.conflicts.map((conflict) => ({
        shadow: conflict.shadow,
        path: conflict.path,
        winner: writeOf(conflict.winner),
        loser: writeOf(conflict.loser),
      }));
      return { items, nextPageToken: page.nextPageToken };
    }),
  );

const writeOf = (write: { writer: string; valueJson: string } | undefined) => ({
  writer: write?.writer ?? '',
  value_json: write?.valueJson ?? '',
});
