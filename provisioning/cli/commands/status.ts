/** `holdfast status`: the fleet at a glance, or, with --gateway, the site. */
import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import { ago } from '../terminal.js';
import { listSites, showSites } from './sites.js';

export const addStatusCommand = (program: Command, context: () => CommandContext): void => {
  program
    .command('status')
    .description('the fleet at a glance, or, with --gateway, the site')
    .action(async () => {
      const { terminal, cloud, gateway, asksGateway, now } = context();
      if (!asksGateway) {
        showSites(terminal, await listSites(await cloud()), now());
        return;
      }
      const status = await (await gateway()).status();
      const lastContact = status.link.last_contact;
      terminal.fields(status, [
        ['site', status.site],
        ['version', status.version],
        ['link', status.link.state],
        ['last contact', ago(lastContact === null ? undefined : new Date(lastContact), now())],
        ['plan', `${status.plan.revision} (${status.plan.state})`],
        ['devices', `${status.devices.online} of ${status.devices.total} online`],
        ...status.serial_lines.map(
          ({ device, path, up, device_online }) =>
            [
              `line ${device}`,
              `${path} ${up ? (device_online ? 'up' : 'up, the device is silent') : 'down'}`,
            ] as const,
        ),
      ]);
    });
};
