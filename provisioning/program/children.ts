/** Programs of ours as child processes: started by their bins, watched until they are ready, and ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { withDeadline } from '../time/deadline.js';
import { parseReadyLine, type ReadyPorts } from './ready.js';
import { stopOnStdinEnd } from './run-program.js';

export interface ChildOptions {
  /** Path of the bin: a JavaScript file. */
  readonly bin: string;
  readonly args?: readonly string[];
  /** Added to this process's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** A command that runs the program, such as `['strace', '-f']`. */
  readonly wrapper?: readonly string[];
  readonly signal?: AbortSignal;
  /** How long it may take until it is ready, or done; 30 s. */
  readonly timeoutMs?: number;
  /** Gets every line of its stderr as it comes. */
  readonly onLogLine?: (line: string) => void;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly pid: number;
  /** What its ready line said. */
  readonly ports: ReadyPorts;
  readonly exited: Promise<ChildExit>;
  /** The last lines of its stderr. */
  stderrTail(): string;
  /** SIGTERM, and SIGKILL when it has not ended after `limitMs` (15 s). Idempotent. */
  stop(limitMs?: number): Promise<ChildExit>;
  /** SIGKILL at once. Idempotent. */
  kill(): Promise<ChildExit>;
}

export interface ChildResult extends ChildExit {
  readonly stdout: string;
  readonly stderr: string;
}

const defaultTimeoutMs = 30_000;
const defaultStopLimitMs = 15_000;
const mostTailLines = 200;
const mostOutputLength = 16 * 1024 * 1024;

/** Starts a program and waits for its ready line. Errors: CHILD_FAILED and DEADLINE_EXCEEDED, with the end of its stderr; it is killed. */
export const startChild = async (options: ChildOptions): Promise<Child> => {
  const { timeoutMs = defaultTimeoutMs, signal, onLogLine } = options;
  const running = launch(options, (line) => onLogLine?.(line));
  const ready = new Promise<ReadyPorts>((resolve, reject) => {
    lines(running.child.stdout, (line) => {
      const ports = parseReadyLine(line);
      if (ports !== undefined) resolve(ports);
    });
    running.exited.then((exit) => reject(failed(options, describe(exit), running.tail())), reject);
  });
  try {
    const ports = await withDeadline(ready, timeoutMs, {
      signal,
      doing: `starting ${basename(options.bin)}`,
    });
    return {
      pid: running.pid(),
      ports,
      exited: running.exited,
      stderrTail: running.tail,
      stop: (limitMs = defaultStopLimitMs) => running.stop(limitMs),
      kill: () => running.kill(),
    };
  } catch (error) {
    await running.kill().catch(() => undefined);
    if (error instanceof HoldfastError && error.code === 'DEADLINE_EXCEEDED') {
      throw new HoldfastError('DEADLINE_EXCEEDED', `${error.message}\n${running.tail()}`);
    }
    throw error;
  }
};

/** Runs a program to its end; any exit code is a result. Errors: DEADLINE_EXCEEDED (it is killed), CHILD_FAILED when it cannot be run. */
export const runChild = async (options: ChildOptions): Promise<ChildResult> => {
  const { timeoutMs = defaultTimeoutMs, signal, onLogLine } = options;
  let stdout = '';
  let stderr = '';
  const running = launch(options, (line) => {
    if (stderr.length < mostOutputLength) stderr += `${line}\n`;
    onLogLine?.(line);
  });
  running.child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    if (stdout.length < mostOutputLength) stdout += chunk;
  });
  try {
    const exit = await withDeadline(running.exited, timeoutMs, {
      signal,
      doing: `running ${basename(options.bin)}`,
    });
    return { ...exit, stdout, stderr };
  } catch (error) {
    await running.kill().catch(() => undefined);
    throw error;
  }
};

type PipedChild = ChildProcess & { readonly stdout: Readable; readonly stderr: Readable };

const launch = (options: ChildOptions, onLine: (line: string) => void) => {
  const { bin, args = [], cwd, wrapper = [] } = options;
  const [command = process.execPath, ...rest] = [...wrapper, process.execPath, bin, ...args];
  const isGroup = wrapper.length > 0;
  const child = spawn(command, rest, {
    // Its stdin ends when we do, however we do, and then it stops too.
    stdio: ['pipe', 'pipe', 'pipe'],
    env: environment(options.env),
    // A wrapper does not pass signals on, so the whole group gets them.
    detached: isGroup,
    ...(cwd !== undefined && { cwd }),
  }) as PipedChild;
  const tail: string[] = [];
  lines(child.stderr, (line) => {
    tail.push(line);
    if (tail.length > mostTailLines) tail.shift();
    onLine(line);
  });
  child.stdin?.on('error', () => undefined);
  const exited = new Promise<ChildExit>((resolve, reject) => {
    // `close` comes after the last line of its output.
    child.once('close', (code, signal) => resolve({ code, signal }));
    child.once('error', (cause) => reject(failed(options, cause.message, '')));
  });
  // Whoever waits hears of it; nobody has to.
  exited.catch(() => undefined);
  const pid = () => child.pid ?? 0;
  const send = (signal: NodeJS.Signals) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    if (isGroup) process.kill(-child.pid, signal);
    else child.kill(signal);
  };
  const kill = (): Promise<ChildExit> => {
    send('SIGKILL');
    return exited;
  };
  const stop = async (limitMs: number): Promise<ChildExit> => {
    send('SIGTERM');
    return withDeadline(exited, limitMs).catch(kill);
  };
  return { child, exited, pid, tail: () => tail.join('\n'), kill, stop };
};

/** Without what test runners put in for their own children. */
const environment = (added: ChildOptions['env'] = {}): NodeJS.ProcessEnv => {
  const inherited = Object.entries(process.env).filter(
    ([name]) => name !== 'NODE_OPTIONS' && name !== 'NODE_V8_COVERAGE' && !/^_?TAP/.test(name),
  );
  return { ...Object.fromEntries(inherited), [stopOnStdinEnd]: '1', ...added };
};

const lines = (from: Readable, onLine: (line: string) => void): void => {
  createInterface({ input: from, crlfDelay: Number.POSITIVE_INFINITY }).on('line', onLine);
};

const describe = ({ code, signal }: ChildExit): string =>
  signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`;

const failed = ({ bin }: ChildOptions, why: string, tail: string) =>
  new HoldfastError('CHILD_FAILED', `${basename(bin)} ${why}${tail === '' ? '' : `\n${tail}`}`);
