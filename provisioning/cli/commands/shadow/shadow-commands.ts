/** `holdfast shadow`: what is desired of a device, what it reported, and who changed what. */
import type { Command } from 'commander';
import type { CommandContext } from '../../context.js';
import { addConflictsCommand } from './conflicts.js';
import { addDiffCommand } from './diff.js';
import { addGetCommand } from './get.js';
import { addHistoryCommand } from './history.js';
import { addListCommand } from './list.js';
import { addPolicyCommand } from './policy.js';
import { addSetCommand } from './set.js';
import { addSettleCommand } from './settle.js';
import { addWatchCommand } from './watch.js';

export const addShadowCommands = (program: Command, context: () => CommandContext): void => {
  const shadow = program.command('shadow').description('desired and reported state of a device');
  addListCommand(shadow, context);
  addGetCommand(shadow, context);
  addSetCommand(shadow, context);
  addDiffCommand(shadow, context);
  addHistoryCommand(shadow, context);
  addWatchCommand(shadow, context);
  addConflictsCommand(shadow, context);
  addSettleCommand(shadow, context);
  addPolicyCommand(shadow, context);
};
