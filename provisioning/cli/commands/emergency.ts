/** `holdfast stop`, `holdfast lift` and `holdfast stops`: every update at once, of the fleet, of sites or of one campaign. */
import type { EmergencyStop } from '@holdfast/protos/gen/holdfast/v1/campaigns';
import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import { ago, type Column } from '../terminal.js';
import {
  liftAtSite,
  listStopsAtSite,
  pauseAtSite,
  resumeAtSite,
  stopAtSite,
} from './campaign/at-site.js';
import { idOf } from './sites.js';

interface StopOptions {
  readonly campaign?: string;
  readonly site?: string[];
  readonly reason: string;
}

export const addStopCommand = (program: Command, context: () => CommandContext): void => {
  program
    .command('stop')
    .description(
      'stop every update: nothing is offered, what is offered is withdrawn, what installs goes on',
    )
    .option('--campaign <id>', 'only this campaign (it is paused)')
    .option('--site <id...>', 'only at these sites')
    .requiredOption('--reason <text>', 'why: whoever finds everything stopped has to know')
    .action(async (options: StopOptions) => {
      const { terminal, cloud, asksGateway } = context();
      if (asksGateway) {
        return options.campaign === undefined
          ? stopAtSite(context(), options.reason)
          : pauseAtSite(context(), options.campaign, options.reason);
      }
      const client = await cloud();
      if (options.campaign !== undefined) {
        const name = `campaigns/${options.campaign}`;
        const paused = await client.call(client.campaigns, client.campaigns.pauseCampaign, {
          name,
          reason: options.reason,
        });
        terminal.json(paused);
        terminal.line(`${terminal.paint('yellow', '■')} campaign ${options.campaign} is paused`);
        terminal.line(`  next: holdfast campaign resume ${options.campaign}`);
        return;
      }
      const { stops } = await client.call(client.campaigns, client.campaigns.createEmergencyStop, {
        sites: (options.site ?? []).map((site) => `sites/${site}`),
        reason: options.reason,
      });
      terminal.json(stops);
      for (const stop of stops) {
        terminal.line(`${terminal.paint('red', '■')} ${placeOf(stop)}: every update is stopped`);
      }
      terminal.line('  Sites hear of it at their next contact; those in contact at once.');
      terminal.line(
        `  next: holdfast stops shows what stands, holdfast lift${sitesOf(options)} goes on`,
      );
    });
};

export const addLiftCommand = (program: Command, context: () => CommandContext): void => {
  program
    .command('lift')
    .description(
      'go on after a stop that was made here; what was stopped at a site is lifted there',
    )
    .option('--campaign <id>', 'resume this campaign')
    .option('--site <id...>', 'what was stopped at these sites')
    .option('--reason <text>', 'why', '')
    .action(async (options: StopOptions) => {
      const { terminal, cloud, asksGateway } = context();
      if (asksGateway) {
        return options.campaign === undefined
          ? liftAtSite(context(), options.reason)
          : resumeAtSite(context(), options.campaign);
      }
      const client = await cloud();
      if (options.campaign !== undefined) {
        const resumed = await client.call(client.campaigns, client.campaigns.resumeCampaign, {
          name: `campaigns/${options.campaign}`,
          reason: options.reason,
        });
        terminal.json(resumed);
        terminal.line(`${terminal.paint('green', '✓')} campaign ${options.campaign} goes on`);
        return;
      }
      const { stops } = await client.call(client.campaigns, client.campaigns.liftEmergencyStop, {
        sites: (options.site ?? []).map((site) => `sites/${site}`),
        reason: options.reason,
      });
      terminal.json(stops);
      if (stops.length === 0) {
        terminal.line(`${terminal.paint('yellow', '!')} nothing was stopped there`);
        terminal.line('  next: holdfast stops shows what stands');
      }
      for (const stop of stops) {
        terminal.line(`${terminal.paint('green', '✓')} ${placeOf(stop)}: updates go on`);
      }
    });
};

export const addStopsCommand = (program: Command, context: () => CommandContext): void => {
  program
    .command('stops')
    .description('what is stopped now, here or at the sites themselves')
    .action(async () => {
      const { terminal, cloud, asksGateway, now } = context();
      if (asksGateway) return listStopsAtSite(context());
      const client = await cloud();
      const { stops } = await client.call(client.campaigns, client.campaigns.listEmergencyStops, {
        pageSize: 1000,
        pageToken: '',
      });
      terminal.table(stops, columnsAt(now()), 'Nothing is stopped');
    });
};

const sitesOf = ({ site }: StopOptions): string =>
  site === undefined ? '' : ` --site ${site.join(' ')}`;

const placeOf = ({ name }: EmergencyStop): string =>
  idOf(name) === '-' ? 'the whole fleet' : `site ${idOf(name)}`;

const columnsAt = (now: number): readonly Column<EmergencyStop>[] => [
  { title: 'WHERE', value: placeOf, colour: () => 'red' },
  { title: 'SINCE', value: ({ createTime }) => ago(createTime, now) },
  { title: 'BY', value: ({ actor }) => actor },
  { title: 'LIFTED', value: ({ local }) => (local ? 'at the site' : 'holdfast lift') },
  { title: 'REASON', value: ({ reason }) => reason },
];
