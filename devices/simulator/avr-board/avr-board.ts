/**
 * A simulated AVR board as a process: a real boot loader and a real application in simavr behind a pseudo-terminal (avr-board.c says what
 * it does). Tests go by its events, reset it, cut its power at an exact point, and read its flash, which survives a kill.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { type AvrBoardName, avrBoards } from './toolchain.js';

export interface AvrBoardOptions {
  /** Compiled by `compileAvrBoard`. */
  readonly program: string;
  readonly board: AvrBoardName;
  /** From `loaderFile`. */
  readonly loader: string;
  /** The flash; kept when the board ends, taken up again when it exists. */
  readonly flash: string;
  /** Intel HEX that is there from the factory, in a new flash. */
  readonly application?: string;
  /** A symbolic link to the terminal. */
  readonly link?: string;
  /** Resets when a host opens the line, as an Arduino does. */
  readonly opensReset?: boolean;
  /** How much faster than real time; the baud rates keep their relation. */
  readonly fast?: number;
}

export type CutMoment = 'before' | 'during' | 'after';

export interface AvrBoard {
  readonly path: string;
  readonly pid: number;
  /** Every event since the start, as avr-board.c words them. */
  readonly events: readonly string[];
  /** The first event from `since` (a length of `events`) on that matches. Rejects when the board ends or the signal aborts; 30 s without one. */
  readonly event: (pattern: RegExp, options?: EventOptions) => Promise<string>;
  /** The reset pin for a moment; resolves when the board was reset, or has no power. */
  readonly reset: () => Promise<void>;
  /** The same, as a reset line of a GPIO chip is asked. */
  readonly pulse: () => Promise<void>;
  /** The reset pin for longer: true holds, false lets go. */
  readonly hold: (active: boolean) => Promise<void>;
  readonly powerOff: () => Promise<void>;
  readonly powerOn: () => Promise<void>;
  readonly powerCycle: () => Promise<void>;
  /** Power fails at the n-th erase or write of a page from now; 0 takes it back. */
  readonly cutAt: (operation: number, moment: CutMoment) => void;
  /** What stands in the flash. */
  readonly readFlash: () => Promise<Buffer>;
  /** The board vanishes, its terminal too, in the middle of whatever it does. */
  readonly kill: () => Promise<void>;
  /** Idempotent. */
  readonly close: () => Promise<void>;
}

export interface EventOptions {
  readonly since?: number;
  readonly signal?: AbortSignal;
}

export const openAvrBoard = async (options: AvrBoardOptions): Promise<AvrBoard> => {
  const child = spawn(options.program, argumentsOf(options), {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.on('error', () => undefined);
  const log = followEvents(child);
  const command = (text: string) => child.stdin.write(`${text}\n`);
  const after = async (text: string, pattern: RegExp) => {
    const since = log.events.length;
    command(text);
    await log.event(pattern, { since });
  };
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };
  const [, path = ''] = (await log.event(/^ready /)).split(' ');
  await log.event(/^reset power-on/);
  return {
    path: options.link ?? path,
    pid: child.pid ?? 0,
    events: log.events,
    event: log.event,
    reset: () => after('reset', /^reset (external|nothing)/),
    pulse: () => after('reset', /^reset (external|nothing)/),
    hold: async (active) => {
      if (active) command('hold');
      else await after('release', /^reset (external|nothing)/);
    },
    powerOff: () => after('power-off', /^power off/),
    powerOn: () => after('power-on', /^reset power-on/),
    powerCycle: () => after('power-cycle', /^reset power-on/),
    cutAt: (operation, moment) => command(`cut ${operation} ${moment}`),
    readFlash: () => readFile(options.flash),
    kill: () => end('SIGKILL'),
    close: () => end('SIGTERM'),
  };
};

const argumentsOf = (options: AvrBoardOptions): string[] => [
  ...['--mcu', avrBoards[options.board].part, '--boot', options.loader, '--flash', options.flash],
  ...(options.application === undefined ? [] : ['--application', options.application]),
  ...(options.link === undefined ? [] : ['--link', options.link]),
  ...(options.opensReset === true ? ['--open-reset'] : []),
  ...(options.fast === undefined ? [] : ['--fast', String(options.fast)]),
];

const eventTimeoutMs = 30_000;

const followEvents = (child: ChildProcessByStdio<Writable, Readable, null>) => {
  const events: string[] = [];
  const waiting = new Set<() => void>();
  let ended: string | null = null;
  const wake = () => {
    for (const look of [...waiting]) look();
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(line);
    wake();
  });
  const onEnd = (reason: string) => {
    ended ??= reason;
    wake();
  };
  child.once('error', (error) => onEnd(error.message));
  child.once('close', (code, signal) => onEnd(`exit ${String(code ?? signal)}`));

  const event = (pattern: RegExp, { since = 0, signal }: EventOptions = {}): Promise<string> =>
    new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        waiting.delete(look);
        finish();
      };
      const say = (why: string) =>
        new Error(`The board ${why} before ${String(pattern)}; it said: ${events.join(', ')}`);
      const look = () => {
        const found = events.slice(since).find((line) => pattern.test(line));
        if (found !== undefined) settle(() => resolve(found));
        else if (ended !== null) settle(() => reject(say(`ended (${ended})`)));
      };
      const onAbort = () => settle(() => reject(signal?.reason));
      const timer = setTimeout(() => settle(() => reject(say('was silent'))), eventTimeoutMs);
      signal?.addEventListener('abort', onAbort, { once: true });
      waiting.add(look);
      look();
    });
  return { events, event };
};
