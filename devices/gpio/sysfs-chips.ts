/**
 * Which number the kernel's older interface (`/sys/class/gpio`) has a line under: its number on the chip, behind the chip's base. That base is
 * 512 or more for every chip of newer kernels, a Pi's too, so a line that is asked for by its own number is another one, or none.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type LineAddress, nameOfLine } from './gpio-lines.js';
import { gpioUnavailable } from './gpio-unavailable.js';

interface SysfsChip {
  readonly folder: string;
  readonly base: number;
  readonly label: string;
  readonly lines: number;
}

/** Errors: GPIO_UNAVAILABLE. */
export const findSysfsNumber = async (root: string, address: LineAddress): Promise<number> => {
  const chip = chosen(await chipsOf(root, address.chip), address.chip);
  const line = typeof address.line === 'number' ? address.line : await named(chip, address.line);
  if (line >= chip.lines) {
    throw gpioUnavailable(`${nameOfLine(address)} was not found: the chip has ${chip.lines} lines`);
  }
  return chip.base + line;
};

/** Those that the chip's name or label may mean. */
const chipsOf = async (root: string, wanted: string): Promise<SysfsChip[]> => {
  const all: SysfsChip[] = [];
  for (const name of await readdir(root).catch(() => [])) {
    if (!/^gpiochip\d+$/.test(name)) continue;
    const folder = join(root, name);
    const [base, lines, label] = await Promise.all(
      ['base', 'ngpio', 'label'].map(async (file) =>
        (await readFile(join(folder, file), 'utf8')).trim(),
      ),
    );
    all.push({ folder, base: Number(base), lines: Number(lines), label: label ?? '' });
  }
  const isName = /^gpiochip\d+$/.test(wanted);
  const meant = await Promise.all(
    all.map(({ folder, label }) => (isName ? hasDevice(folder, wanted) : label === wanted)),
  );
  return all.filter((_, at) => meant[at]);
};

/** In these names the number is the base; what everybody else calls the chip lies beside it, below the same device. */
const hasDevice = (folder: string, name: string): Promise<boolean> =>
  stat(join(folder, 'device', name)).then(
    () => true,
    () => false,
  );

const chosen = ([first, ...others]: readonly SysfsChip[], wanted: string): SysfsChip => {
  if (first === undefined) {
    throw gpioUnavailable(`/sys/class/gpio: the chip ${wanted} was not found`);
  }
  if (others.length === 0) return first;
  const labels = [first, ...others].map(({ label }) => label).join(', ');
  throw gpioUnavailable(`/sys/class/gpio: ${wanted} may be any of ${labels}: name one of these`);
};

/** The names of lines are those of the device tree. */
const named = async ({ folder, label }: SysfsChip, name: string): Promise<number> => {
  const names = await readFile(join(folder, 'device/of_node/gpio-line-names'), 'utf8').catch(
    () => '',
  );
  const line = names.split('\0').indexOf(name);
  if (line >= 0 && name !== '') return line;
  throw gpioUnavailable(`/sys/class/gpio: no line of ${label} is called ${name}: it was not found`);
};
