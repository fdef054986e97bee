/** `holdfast device label`: what people call a device, for groups and campaigns to choose by. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import type { CommandContext } from '../context.js';
import { resolveDeviceName } from '../device-name.js';

export const addLabelCommand = (device: Command, context: () => CommandContext): void => {
  device
    .command('label <device> [change...]')
    .description('set labels (key=value) and take some away (key=); shows what it has then')
    .option('--site <id>', 'the site of the device')
    .action(async (text: string, changes: string[], options: { site?: string }) => {
      const { terminal, cloud } = context();
      const client = await cloud();
      const name = await resolveDeviceName(client, text, options.site);
      const before = await client.call(client.devices, client.devices.getDevice, { name });
      const labels = changes.reduce(changed, before.labels);
      const after =
        changes.length === 0
          ? before
          : await client.call(client.devices, client.devices.updateDevice, {
              device: { ...before, labels },
              updateMask: ['labels'],
            });
      terminal.json({ device: after.name, labels: after.labels });
      const entries = Object.entries(after.labels);
      if (entries.length === 0) terminal.line(terminal.paint('dim', 'It has no labels'));
      for (const [key, value] of entries) terminal.line(`${key}=${value}`);
    });
};

const changed = (
  labels: Readonly<Record<string, string>>,
  change: string,
): Readonly<Record<string, string>> => {
  const at = change.indexOf('=');
  if (at < 1) {
    throw new HoldfastError(
      'REQUEST_INVALID',
      `'${change}' is no label: write key=value, or key= to take it away`,
    );
  }
  const key = change.slice(0, at);
  const value = change.slice(at + 1);
  const { [key]: _, ...others } = labels;
  return value === '' ? others : { ...others, [key]: value };
};
