/** `holdfast group`: devices that belong together, whichever site they are at. */
import type { Group } from '@holdfast/protos/gen/holdfast/v1/groups';
import type { Command } from 'commander';
import type { CloudClient } from '../cloud-client.js';
import { type CommandContext, collect, eachPage } from '../context.js';
import { resolveDeviceName } from '../device-name.js';
import { ago, type Column } from '../terminal.js';
import { parseLabels } from './campaign/create.js';
import { idOf } from './sites.js';

interface CreateOptions {
  readonly device?: string[];
  readonly label?: string[];
  readonly name?: string;
}

export const addGroupCommands = (program: Command, context: () => CommandContext): void => {
  const group = program
    .command('group')
    .description('devices that belong together, whichever site they are at');

  group
    .command('create <id>')
    .description('create a group of devices that are named, or of all that have certain labels')
    .option('--device <site/device...>', 'its first members')
    .option(
      '--label <key=value...>',
      'its members are the devices with these labels, now and later',
    )
    .option('--name <text>', 'how it is shown')
    .action(async (id: string, options: CreateOptions) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const created = await client.call(client.groups, client.groups.createGroup, {
        groupId: id,
        group: {
          ...noGroup,
          displayName: options.name ?? id,
          selector: parseLabels(options.label ?? []),
        },
        devices: await deviceNames(client, options.device ?? []),
      });
      terminal.json(created);
      terminal.line(`${terminal.paint('green', '✓')} group ${id}: ${membersOf(created)}`);
      terminal.line(`  next: holdfast campaign create ID --group ${id} --firmware MODEL@VERSION`);
    });

  group
    .command('list')
    .description('every group')
    .action(async () => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const groups = await collect(
        eachPage(async (pageToken) => {
          const page = await client.call(client.groups, client.groups.listGroups, {
            pageSize: 1000,
            pageToken,
          });
          return { items: page.groups, nextPageToken: page.nextPageToken };
        }),
      );
      terminal.table(
        groups,
        groupColumns,
        'No groups yet: holdfast group create ID --label ring=early',
      );
    });

  group
    .command('get <id>')
    .description('one group, and who is in it')
    .action(async (id: string) => {
      const { terminal, cloud, now } = context();
      const client = await cloud();
      const name = `groups/${id}`;
      const found = await client.call(client.groups, client.groups.getGroup, { name });
      const devices = await collect(
        eachPage(async (pageToken) => {
          const page = await client.call(client.groups, client.groups.listGroupMembers, {
            parent: name,
            pageSize: 1000,
            pageToken,
          });
          return { items: page.devices, nextPageToken: page.nextPageToken };
        }),
      );
      terminal.fields({ ...found, devices }, [
        ['group', id],
        ['name', found.displayName],
        ['labels', selectorOf(found) ?? 'none: it names its devices'],
        ['members', membersOf(found)],
        ['created', ago(found.createTime, now())],
      ]);
      if (!terminal.isJson && devices.length > 0) terminal.line();
      for (const device of devices)
        terminal.line(device.replace(/^sites\//, '').replace('/devices/', '/'));
    });

  const change = (name: 'add' | 'remove', description: string) =>
    group
      .command(`${name} <id> <device...>`)
      .description(description)
      .action(async (id: string, devices: string[]) => {
        const { terminal, cloud } = context();
        const client = await cloud();
        const named = await deviceNames(client, devices);
        const changed = await client.call(client.groups, client.groups.changeGroupMembers, {
          name: `groups/${id}`,
          add: name === 'add' ? named : [],
          remove: name === 'remove' ? named : [],
        });
        terminal.json(changed);
        terminal.line(`${terminal.paint('green', '✓')} group ${id}: ${membersOf(changed)}`);
      });
  change('add', 'put devices (SITE/DEVICE) into a group that names them');
  change('remove', 'take devices (SITE/DEVICE) out of a group that names them');

  group
    .command('select <id>')
    .description('change the labels by which devices are in it')
    .requiredOption('--label <key=value...>', 'its members are the devices with these labels')
    .action(async (id: string, options: { label: string[] }) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const changed = await client.call(client.groups, client.groups.updateGroup, {
        group: { ...noGroup, name: `groups/${id}`, selector: parseLabels(options.label) },
        updateMask: ['selector'],
      });
      terminal.json(changed);
      terminal.line(`${terminal.paint('green', '✓')} group ${id}: ${membersOf(changed)}`);
    });

  group
    .command('delete <id>')
    .description('delete a group; its devices stay')
    .action(async (id: string) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      await client.call(client.groups, client.groups.deleteGroup, {
        name: `groups/${id}`,
        etag: '',
      });
      terminal.json({ deleted: id });
      terminal.line(`${terminal.paint('green', '✓')} group ${id} is gone`);
    });
};

const noGroup: Group = {
  name: '',
  displayName: '',
  selector: {},
  memberCount: 0n,
  siteCount: 0,
  createTime: undefined,
  etag: '',
};

const deviceNames = (client: CloudClient, devices: readonly string[]): Promise<string[]> =>
  Promise.all(devices.map((text) => resolveDeviceName(client, text, undefined)));

const membersOf = ({ memberCount, siteCount }: Group): string =>
  `${memberCount} ${memberCount === 1n ? 'device' : 'devices'} at ${siteCount} ${siteCount === 1 ? 'site' : 'sites'}`;

const selectorOf = ({ selector }: Group): string | undefined => {
  const labels = Object.entries(selector).map(([key, value]) => `${key}=${value}`);
  return labels.length === 0 ? undefined : labels.join(', ');
};

const groupColumns: readonly Column<Group>[] = [
  { title: 'GROUP', value: ({ name }) => idOf(name) },
  { title: 'DEVICES', value: ({ memberCount }) => String(memberCount) },
  { title: 'SITES', value: ({ siteCount }) => siteCount },
  { title: 'LABELS', value: selectorOf },
];
