/** `holdfast campaign` and `holdfast job`: what goes to which devices, site by site. A job is a campaign with a document of its own. */
import type { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import { addControlCommands } from './control.js';
import { addCreateCommand, type Kind } from './create.js';
import { addListCommands } from './lists.js';
import { watchCampaign } from './watch.js';

export const addCampaignCommands = (program: Command, context: () => CommandContext): void =>
  addCommands(
    program.command('campaign').description('firmware for devices, site by site'),
    'campaign',
    context,
  );

export const addJobCommands = (program: Command, context: () => CommandContext): void =>
  addCommands(
    program.command('job').description('something else for devices to do, site by site'),
    'job',
    context,
  );

const addCommands = (parent: Command, kind: Kind, context: () => CommandContext): void => {
  addCreateCommand(parent, kind, context);
  addControlCommands(parent, kind, context);
  parent
    .command('watch <id>')
    .description('follow its progress until it is over')
    .action((id: string) => watchCampaign(context(), id));
  addListCommands(parent, kind, context);
};
