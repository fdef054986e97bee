/**
 * GPIO lines through the tools of libgpiod (Debian's package gpiod), 1.6 and 2.x: the character device is theirs, so no number shifts with
 * the kernel, and nothing has to be compiled. A line belongs to the tool that holds it, so a change is another process.
 *
 * Errors: GPIO_UNAVAILABLE (no such tool, chip or line, no permission, or somebody else has it), with what the tool says.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { GpioLines, LineAddress } from './gpio-lines.js';
import { gpioUnavailable } from './gpio-unavailable.js';
import { HeldLine } from './held-line.js';
import { LastWill } from './last-will.js';
import {
  type ChipRow,
  type Command,
  type FoundLine,
  infoCommand,
  parseChips,
  parseLineNumber,
  type ToolsVersion,
} from './tool-commands.js';
import type { HoldsLine } from './tool-process.js';
import { WatchedLine } from './watched-line.js';

export interface LibgpiodOptions {
  /** Where the tools lie, for tests; by default wherever PATH says. */
  readonly environment?: NodeJS.ProcessEnv;
  readonly holdsLine?: HoldsLine;
  /** How often a quiet input is looked at anew. */
  readonly lookEveryMs?: number;
}

/** The tools of this machine. */
export interface Tools {
  readonly version: ToolsVersion;
  readonly hasSetpriv: boolean;
}

/** What a line needs of them. */
export interface ToolsDeps {
  readonly environment: NodeJS.ProcessEnv;
  readonly holdsLine: HoldsLine | undefined;
  readonly will: LastWill;
  readonly lookEveryMs: number;
  tools(): Promise<Tools>;
  /** Errors: GPIO_UNAVAILABLE. */
  run(command: Command): Promise<string>;
  find(address: LineAddress): Promise<FoundLine>;
}

const toolTimeoutMs = 5_000;
const defaultLookEveryMs = 600_000;

export const libgpiodTools = ({
  environment = process.env,
  holdsLine,
  lookEveryMs = defaultLookEveryMs,
}: LibgpiodOptions = {}): GpioLines => {
  const run = runner(environment);
  let known: Promise<Tools> | undefined;
  const tools = (): Promise<Tools> => {
    known ??= findTools(environment).catch((error: unknown) => {
      // They may be installed meanwhile.
      known = undefined;
      throw error;
    });
    return known;
  };
  const deps: ToolsDeps = {
    environment,
    holdsLine,
    will: new LastWill(environment),
    lookEveryMs,
    tools,
    run,
    find: async (address) => findLine({ run, version: (await tools()).version }, address),
  };
  return {
    output: (address, options = {}) => new HeldLine(deps, address, options),
    watch: (address, handlers, options = {}) => new WatchedLine(deps, address, handlers, options),
  };
};

const findTools = async (environment: NodeJS.ProcessEnv): Promise<Tools> => {
  const version = await toolsVersion(environment);
  const hasSetpriv = await promisify(execFile)('setpriv', ['--version'], {
    env: environment,
    timeout: toolTimeoutMs,
  }).then(
    () => true,
    () => false,
  );
  return { version, hasSetpriv };
};

/** Errors: GPIO_UNAVAILABLE when they are not installed. */
export const toolsVersion = async (environment = process.env): Promise<ToolsVersion> => {
  try {
    const { stdout } = await promisify(execFile)('gpioset', ['--version'], {
      env: environment,
      timeout: toolTimeoutMs,
    });
    return /\bv?1\./.test(stdout.split('\n')[0] ?? '') ? 1 : 2;
  } catch (error) {
    throw new HoldfastError('GPIO_UNAVAILABLE', 'the tools of libgpiod are not here', {
      cause: error,
      data: { next: 'sudo apt install gpiod' },
    });
  }
};

/** The chips of this machine; none where the tools cannot say. */
export const detectedChips = async (environment = process.env): Promise<ChipRow[]> =>
  parseChips(await runner(environment)(['gpiodetect']).catch(() => ''));

const runner =
  (environment: NodeJS.ProcessEnv) =>
  async ([tool, ...words]: Command): Promise<string> => {
    try {
      const { stdout } = await promisify(execFile)(tool, words, {
        env: environment,
        timeout: toolTimeoutMs,
      });
      return stdout;
    } catch (error) {
      const { stderr } = error as { readonly stderr?: string };
      throw gpioUnavailable(stderr?.trim() || `${tool}: ${messageOf(error)}`, error);
    }
  };

/** The chip by its name and the line by its number, as both generations of the tools take them. */
const findLine = async (
  { run, version }: Pick<ToolsDeps, 'run'> & Pick<Tools, 'version'>,
  address: LineAddress,
): Promise<FoundLine> => {
  const chip = /^gpiochip\d+$/.test(address.chip)
    ? address.chip
    : await chipOf(await run(['gpiodetect']), address.chip);
  const { line } = address;
  if (typeof line === 'number') return { ...address, chip, line };
  const number = parseLineNumber(await run(infoCommand(version, chip)), line);
  if (number !== undefined) return { ...address, chip, line: number };
  throw gpioUnavailable(`no line of ${chip} is called ${line}: it was not found`);
};

const chipOf = (detected: string, label: string): string => {
  const chips = parseChips(detected);
  const found = chips.find((chip) => chip.label === label);
  if (found !== undefined) return found.name;
  const known = chips.map(({ name, label: its }) => `${name} [${its}]`).join(', ');
  throw gpioUnavailable(`the chip ${label} was not found: there are ${known || 'none'}`);
};
