/**
 * GPIO lines through the tools of libgpiod (Debian's package gpiod), 1.6 and 2.x: the character device is theirs, so no number shifts with
 * the kernel, and nothing has to be compiled. A line belongs to the tool that holds it, so a change is another process.
 *
 * Errors: GPIO_UNAVAILABLE (no such tool, chip or line, no permission, or somebody else has it), with what the tool says.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { GpioLines, InputLine, LineAddress, OutputLine } from './gpio-lines.js';

export interface LibgpiodOptions {
  /** Where the tools lie, for tests; by default wherever PATH says. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** The first number of the tools' version. */
export type ToolsVersion = 1 | 2;

/** A tool that refuses does so at once; one that runs after this holds its line. */
const settledMs = 30;
const killAfterMs = 1_000;

export const libgpiodTools = ({ environment = process.env }: LibgpiodOptions = {}): GpioLines => {
  let known: Promise<ToolsVersion> | undefined;
  const version = (): Promise<ToolsVersion> => {
    known ??= toolsVersion(environment).catch((error: unknown) => {
      // They may be installed meanwhile.
      known = undefined;
      throw error;
    });
    return known;
  };
  return {
    output: (address) => new HeldLine(address, version, environment),
    watch: (address, onEdge) => new WatchedLine(address, onEdge, version, environment),
  };
};

/** Errors: GPIO_UNAVAILABLE when they are not installed. */
export const toolsVersion = async (environment = process.env): Promise<ToolsVersion> => {
  try {
    const run = promisify(execFile);
    const { stdout } = await run('gpioset', ['--version'], { env: environment, timeout: 5_000 });
    return /\bv?1\./.test(stdout.split('\n')[0] ?? '') ? 1 : 2;
  } catch (error) {
    throw new HoldfastError('GPIO_UNAVAILABLE', 'the tools of libgpiod are not here', {
      cause: error,
      data: { next: 'sudo apt install gpiod' },
    });
  }
};

const flagsOf = ({ activeLow, bias }: LineAddress): string[] => [
  ...(activeLow ? ['--active-low'] : []),
  ...(bias === 'as-is' ? [] : [`--bias=${bias}`]),
];

export const setCommand = (
  version: ToolsVersion,
  address: LineAddress,
  isOn: boolean,
): readonly [tool: string, ...words: string[]] => {
  const value = `${address.line}=${isOn ? 1 : 0}`;
  return version === 1
    ? ['gpioset', '--mode=signal', ...flagsOf(address), address.chip, value]
    : ['gpioset', ...flagsOf(address), '--chip', address.chip, value];
};

export const watchCommand = (
  version: ToolsVersion,
  address: LineAddress,
): readonly [tool: string, ...words: string[]] =>
  version === 1
    ? [
        ...(['gpiomon', '--line-buffered', '--format=%e'] as const),
        ...flagsOf(address),
        address.chip,
        String(address.line),
      ]
    : [
        // Into a pipe it would keep what it says until it is much.
        ...(['stdbuf', '-oL', 'gpiomon', '--format=%e'] as const),
        ...flagsOf(address),
        '--chip',
        address.chip,
        String(address.line),
      ];

type Version = () => Promise<ToolsVersion>;

class HeldLine implements OutputLine {
  readonly #address: LineAddress;
  readonly #version: Version;
  readonly #environment: NodeJS.ProcessEnv;
  #tool: Tool | undefined;
  #isOn: boolean | undefined;
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(address: LineAddress, version: Version, environment: NodeJS.ProcessEnv) {
    this.#address = address;
    this.#version = version;
    this.#environment = environment;
  }

  set(isOn: boolean): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#isClosed || (this.#isOn === isOn && this.#tool?.isRunning)) return;
      const version = await this.#version();
      // Two may not hold one line.
      await this.#tool?.end();
      this.#tool = new Tool(setCommand(version, this.#address, isOn), this.#environment);
      this.#isOn = isOn;
      await this.#tool.settled();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#inTurn(async () => this.#tool?.end());
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

class WatchedLine implements InputLine {
  readonly failed: Promise<never>;
  #tool: Tool | undefined;
  #isClosed = false;

  constructor(
    address: LineAddress,
    onEdge: (isOn: boolean) => void,
    version: Version,
    environment: NodeJS.ProcessEnv,
  ) {
    this.failed = (async () => {
      const command = watchCommand(await version(), address);
      if (this.#isClosed) return new Promise<never>(() => undefined);
      this.#tool = new Tool(command, environment, (line) => onEdge(line.trim() === '1'));
      const error = await this.#tool.ended;
      if (this.#isClosed) return new Promise<never>(() => undefined);
      throw error;
    })();
    // Whoever waits hears of it.
    this.failed.catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#tool?.end();
  }
}

/** One process of a tool, which holds a line as long as it runs. */
class Tool {
  readonly #child: ChildProcess;
  /** Resolves with why, when it is over. */
  readonly ended: Promise<HoldfastError>;
  isRunning = true;

  constructor(
    [tool, ...words]: readonly [string, ...string[]],
    env: NodeJS.ProcessEnv,
    onLine?: (line: string) => void,
  ) {
    this.#child = spawn(tool, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-1_000);
    });
    if (this.#child.stdout !== null) {
      const lines = createInterface({ input: this.#child.stdout });
      lines.on('line', (line) => onLine?.(line));
    }
    this.ended = new Promise((resolve) => {
      const end = (reason: string): void => {
        this.isRunning = false;
        resolve(new HoldfastError('GPIO_UNAVAILABLE', `${tool}: ${reason.trim() || 'it ended'}`));
      };
      this.#child.once('error', (error) => end(messageOf(error)));
      this.#child.once('close', () => end(said));
    });
  }

  /** Resolves when it holds its line. */
  async settled(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const holds = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), settledMs);
    });
    const error = await Promise.race([holds, this.ended]);
    clearTimeout(timer);
    if (error !== undefined) throw error;
  }

  async end(): Promise<void> {
    if (!this.isRunning) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), killAfterMs);
    await this.ended;
    clearTimeout(timer);
  }
}
