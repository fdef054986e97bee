/** One process of a tool of libgpiod, which holds a line as long as it runs, and no longer than this process does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readlink } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { wait } from '@holdfast/provisioning/time/wait';
import { gpioUnavailable } from './gpio-unavailable.js';
import type { Command } from './tool-commands.js';

export interface ToolOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Whether `setpriv` of util-linux is here, by which the kernel ends the tool with us. */
  readonly hasSetpriv: boolean;
  readonly onOutput?: (chunk: Buffer) => void;
  /** Whether a process holds its line by now; by what /proc says of it, unless a test has tools of its own. */
  readonly holdsLine?: HoldsLine;
}

/** Undefined where nobody can say. */
export type HoldsLine = (pid: number) => Promise<boolean | undefined>;

/** Between two looks at what a tool says. */
const lookRestMs = 20;
const lookEveryMs = 5;
const settleWithinMs = 3_000;
/** Where nobody can say whether it holds its line: one that refuses does so at once. */
const settledMs = 50;
const killAfterMs = 1_000;

export class ToolProcess {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #holdsLine: HoldsLine;
  /** Resolves with why, when it is over. */
  readonly ended: Promise<HoldfastError>;
  #isRunning = true;

  constructor([tool, ...words]: Command, options: ToolOptions) {
    const { env, hasSetpriv, onOutput, holdsLine = holdsByProc } = options;
    this.#name = tool;
    this.#holdsLine = holdsLine;
    this.#child = hasSetpriv
      ? spawn('setpriv', ['--pdeathsig', 'KILL', tool, ...words], { env, stdio })
      : spawn(tool, words, { env, stdio });
    let said = '';
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-1_000);
    });
    if (this.#child.stdout !== null) readInLooks(this.#child.stdout, onOutput);
    this.ended = new Promise((resolve) => {
      const end = (reason: string): void => {
        this.#isRunning = false;
        const why = reason.trim() || 'it ended';
        // The tools begin with their own name.
        resolve(gpioUnavailable(why.startsWith(`${tool}: `) ? why : `${tool}: ${why}`));
      };
      this.#child.once('error', (error) => end(messageOf(error)));
      this.#child.once('close', () => end(said));
    });
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Resolves when it holds its line. Errors: GPIO_UNAVAILABLE. */
  async settled(): Promise<void> {
    const over = new AbortController();
    try {
      const refused = await Promise.race([this.#holds(over.signal), this.ended]);
      if (refused !== undefined) throw refused;
    } finally {
      over.abort();
    }
  }

  async #holds(signal: AbortSignal): Promise<undefined> {
    const { pid } = this.#child;
    for (let waitedMs = 0; waitedMs < settleWithinMs; waitedMs += lookEveryMs) {
      const holds = pid === undefined ? false : await this.#holdsLine(pid);
      if (holds === true) return undefined;
      if (holds === undefined && waitedMs >= settledMs) return undefined;
      await wait(lookEveryMs, signal);
    }
    throw new HoldfastError('GPIO_UNAVAILABLE', `${this.#name} did not take its line in time`);
  }

  async end(): Promise<void> {
    if (!this.#isRunning) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), killAfterMs);
    await this.ended;
    clearTimeout(timer);
  }
}

/** All that there is, at once and then not before a moment has passed: what comes meanwhile is kept, up to a bound, and then the tool waits. */
const readInLooks = (output: Readable, onOutput: (chunk: Buffer) => void = () => undefined) => {
  let resting: NodeJS.Timeout | undefined;
  const look = (): void => {
    resting = undefined;
    const chunk = output.read() as Buffer | null; // It has no encoding, so these are bytes.
    if (chunk === null) return;
    resting = setTimeout(look, lookRestMs);
    onOutput(chunk);
  };
  output.on('readable', () => {
    if (resting === undefined) look();
  });
};

const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];

/** The kernel gives whoever holds a line a descriptor of it (`anon_inode:gpio-line`, `gpio-event`). */
const holdsByProc: HoldsLine = async (pid) => {
  try {
    const folder = `/proc/${pid}/fd`;
    const links = await Promise.all(
      (await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => '')),
    );
    return links.some((link) => link.startsWith('anon_inode:gpio'));
  } catch (error) {
    // It may have ended, which says itself.
    const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT';
    return isGone ? false : undefined;
  }
};
