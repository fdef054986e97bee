/** Whether the GPIO chips that the configuration names are there and may be used. */
import { access, constants, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { detectedChips } from '@holdfast/devices/gpio/libgpiod-tools';
import { type GpioBackend, openGpio } from '@holdfast/devices/gpio/open-gpio';
import type { ChipRow } from '@holdfast/devices/gpio/tool-commands';
import type { GatewayConfiguration } from '../configuration.js';
import { type Finding, findingsOf } from './finding.js';
import { mayUse } from './may-use.js';
import type { ServiceUser } from './service-user.js';

export interface GpioOptions {
  readonly lines: readonly Pick<
    GatewayConfiguration['gpio']['lines'][number],
    'name' | 'chip' | 'line'
  >[];
  /** What drives lines here. */
  readonly backend?: () => Promise<GpioBackend>;
  /** The chips by name and label, as far as the tools say them. */
  readonly labels?: () => Promise<readonly ChipRow[]>;
  readonly user: ServiceUser | undefined;
  /** Where /dev and /sys lie. */
  readonly root?: string;
}

const { ok, warning, failure } = findingsOf('gpio');

export const checkGpioChips = async ({
  lines,
  user,
  root = '/',
  backend = () => openGpio().backend(),
  labels = detectedChips,
}: GpioOptions): Promise<Finding[]> => {
  const dev = join(root, 'dev');
  const chips = (await readdir(dev).catch(() => []))
    .filter((name) => /^gpiochip\d+$/.test(name))
    .sort();
  if (chips.length === 0 && lines.length === 0) return [ok('no GPIO chips, and none wanted')];
  const tools = lines.length === 0 ? [] : toolsOf(await backend());
  const isName = (chip: string): boolean => /^gpiochip\d+$/.test(chip);
  const known = lines.every(({ chip }) => isName(chip)) ? [] : await labels();
  const nameOf = (chip: string): string =>
    isName(chip) ? chip : (known.find(({ label }) => label === chip)?.name ?? chip);
  const wanted = [...new Set(lines.map(({ chip }) => nameOf(chip)))];
  const found = await Promise.all(
    wanted.map(async (chip): Promise<Finding> => {
      const names = lines
        .filter((line) => nameOf(line.chip) === chip)
        .map(({ name }) => name)
        .join(', ');
      const path = join(dev, chip);
      const there = await stat(path).catch(() => undefined);
      if (there === undefined) {
        return failure(
          `${chip} (${names}) is not there`,
          chips.length === 0
            ? 'this machine has no GPIO chip at all: look whether its kernel has a driver for one (ls /dev/gpiochip*), or take the lines out of gpio.lines'
            : `name another in gpio.lines: there are ${chips.join(', ')}`,
        );
      }
      const isUsable =
        user === undefined
          ? await access(path, constants.R_OK | constants.W_OK).then(
              () => true,
              () => false,
            )
          : mayUse(there, user);
      return isUsable
        ? ok(`${chip} is there, for ${names}`)
        : failure(
            `${chip} may not be used by ${user?.name ?? 'this user'}`,
            `sudo usermod -aG gpio ${user?.name ?? '$USER'} (or the group of ${path}), then start again`,
          );
    }),
  );
  const unused = chips.filter((chip) => !wanted.includes(chip));
  if (unused.length === 0) return [...tools, ...found];
  const described = await Promise.all(unused.map((chip) => describe(root, chip)));
  return [...tools, ...found, ok(`not used: ${described.join(', ')}`, { unused })];
};

const toolsOf = ({ name, reason, next }: GpioBackend): Finding[] => {
  if (name === null) return [failure(`nothing can drive GPIO lines here: ${reason}`, next)];
  if (name !== 'onoff') return [];
  return [warning(`GPIO lines are driven by onoff, since ${reason}`, next)];
};

const describe = async (root: string, chip: string): Promise<string> => {
  const label = await readFile(
    join(root, 'sys/bus/gpio/devices', chip, 'of_node/name'),
    'utf8',
  ).catch(() => '');
  return label === '' ? chip : `${chip} (${label.replaceAll('\0', '')})`;
};
