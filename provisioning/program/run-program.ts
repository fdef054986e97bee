/**
 * The life of a program: configuration, logs, signals, and the end. What was opened is closed in reverse, within a limit; the exit code
 * says how it went (0 as asked, 1 failed, 70 a mistake of ours, 78 configuration, as in sysexits.h).
 */
import { isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type * as v from 'valibot';
import { Closers } from './closers.js';
import { type Loaded, type LoadOptions, loadConfiguration } from './configuration.js';
import { LogStream } from './log-stream.js';
import { createLogger, type Logger } from './logger.js';
import { nearestName } from './nearest-name.js';
import { formatReadyLine, type ReadyPorts } from './ready.js';
import { type Usage, usageText } from './reference.js';
import type { ConfigurationSchema } from './settings.js';

export const exitCodes = { ok: 0, failed: 1, software: 70, configuration: 78 } as const;

/** Set by whoever starts a program with a pipe on its stdin: the program ends when the pipe does, so that nobody is orphaned. */
export const stopOnStdinEnd = 'HOLDFAST_STOP_ON_STDIN_END';

export interface Program<S extends ConfigurationSchema> extends Usage {
  readonly version: string;
  readonly schema: S;
  /** How long closing may take altogether. */
  readonly closeLimitMs?: number;
  readonly defaultFile?: NonNullable<LoadOptions['defaultFile']>;
  /** Resolves when the work is over. A program that serves awaits `aborted(context.signal)` at its end. */
  readonly run: (context: ProgramContext<v.InferOutput<S>>) => Promise<void>;
}

export interface ProgramContext<C> extends Omit<Loaded<C>, 'logLevel' | 'warnings'> {
  readonly log: Logger;
  /** Aborts at SIGTERM, SIGINT and `fail`. */
  readonly signal: AbortSignal;
  /** Registers what is to be closed at the end; the last registered is closed first. */
  onClose(name: string, close: () => Promise<void> | void): void;
  /** Says that the program serves now, and again when it has begun anew. */
  ready(ports: ReadyPorts): void;
  /** Ends the program because something it cannot do without has failed. */
  fail(error: unknown): void;
}

/** What to say of a command that there is not. */
export const unknownCommand = (
  program: string,
  written: string,
  known: readonly string[],
): string => {
  const near = nearestName(written, known);
  return near === undefined
    ? `There is no command "${written}" here: ${program} --help (the command stands before the flags)`
    : `There is no command "${written}": do you mean "${near}"?`;
};

/** Runs the program and ends the process. */
export const runProgram = async <S extends ConfigurationSchema>(
  program: Program<S>,
): Promise<never> => {
  const argv = process.argv.slice(2);
  if (argv.includes('--help')) return printAndExit(usageText(program.schema, program));
  if (argv.includes('--version')) return printAndExit(`${program.program} ${program.version}\n`);
  // A reader that went away is no reason to die.
  process.stdout.on('error', () => undefined);
  let loaded: Loaded<v.InferOutput<S>>;
  try {
    loaded = await loadConfiguration(program.schema, { ...program, argv, env: process.env });
  } catch (error) {
    process.stderr.write(
      argv.includes('--json') ? jsonOf(error) : `${program.program}: ${messageOf(error)}\n`,
    );
    process.exit(
      isHoldfastError(error, 'CONFIGURATION_INVALID')
        ? exitCodes.configuration
        : exitCodes.software,
    );
  }
  return new Life(program, loaded).live();
};

const printAndExit = (text: string): Promise<never> =>
  new Promise(() => process.stdout.write(text, () => process.exit(exitCodes.ok)));

/** As every command with `--json` tells an error. */
const jsonOf = (error: unknown): string => {
  const { code, data } = isHoldfastError(error) ? error : { code: 'INTERNAL', data: {} };
  return `${JSON.stringify({ error: { code, message: messageOf(error), data } })}\n`;
};

class Life<S extends ConfigurationSchema> {
  readonly #program: Program<S>;
  readonly #loaded: Loaded<v.InferOutput<S>>;
  readonly #log: Logger;
  readonly #stderr = new LogStream({ fd: 2 });
  readonly #stop = new AbortController();
  readonly #closers: Closers;
  #exitCode: number = exitCodes.ok;
  #isReady = false;

  constructor(program: Program<S>, loaded: Loaded<v.InferOutput<S>>) {
    this.#program = program;
    this.#loaded = loaded;
    this.#log = createLogger({
      program: program.program,
      level: loaded.logLevel,
      to: this.#stderr,
    });
    this.#closers = new Closers({ log: this.#log }, { limitMs: program.closeLimitMs });
  }

  async live(): Promise<never> {
    this.#listen();
    const { logLevel, warnings, ...loaded } = this.#loaded;
    for (const warning of warnings) this.#warn(warning);
    try {
      await this.#program.run({
        ...loaded,
        log: this.#log,
        signal: this.#stop.signal,
        onClose: (name, close) => this.#closers.add(name, close),
        ready: (ports) => {
          this.#isReady = true;
          process.stdout.write(`${formatReadyLine(ports)}\n`);
        },
        fail: (error) => this.#fail(error),
      });
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#fail(error);
      // What a stop interrupts rejects, with the signal's reason or with something made of it.
      else if (error !== this.#stop.signal.reason) this.#log.warn({ err: error }, 'interrupted');
    }
    this.#stop.abort();
    if (!(await this.#closers.close())) this.#exitCode ||= exitCodes.failed;
    await this.#stderr.flush();
    process.exit(this.#exitCode);
  }

  #warn(text: string): void {
    if (process.stderr.isTTY) process.stderr.write(`${this.#program.program}: ${text}\n`);
    else this.#log.warn(text);
  }

  #listen(): void {
    process.on('SIGTERM', () => this.#askToStop('SIGTERM'));
    process.on('SIGINT', () => {
      // Whoever asks twice does not want to wait.
      if (this.#stop.signal.aborted) this.#exitNow(exitCodes.failed);
      this.#askToStop('SIGINT');
    });
    process.on('uncaughtException', (error) => this.#crash(error));
    process.on('unhandledRejection', (error) => this.#crash(error));
    if (process.env[stopOnStdinEnd] !== undefined) {
      process.stdin.on('end', () => this.#askToStop('end of stdin'));
      process.stdin.on('error', () => this.#askToStop('end of stdin'));
      process.stdin.resume();
    }
  }

  #askToStop(why: string): void {
    if (this.#stop.signal.aborted) return;
    this.#log.info({ why }, 'stopping');
    this.#stop.abort();
  }

  #fail(error: unknown): void {
    this.#exitCode = isHoldfastError(error, 'CONFIGURATION_INVALID')
      ? exitCodes.configuration
      : exitCodes.failed;
    if (process.argv.includes('--json') && !this.#isReady) {
      process.stderr.write(jsonOf(error));
      this.#stop.abort();
      return;
    }
    // A person at a terminal whose command failed wants a sentence, everybody else a line of the log.
    if (process.stderr.isTTY && !this.#isReady) {
      process.stderr.write(`${this.#program.program}: ${messageOf(error)}\n`);
      const next = isHoldfastError(error) ? error.data.next : undefined;
      if (typeof next === 'string') process.stderr.write(`  next: ${next}\n`);
    } else {
      this.#log.fatal({ err: error }, messageOf(error));
    }
    this.#stop.abort();
  }

  /** After a mistake nothing in memory can be relied on, least of all an orderly end; what was acknowledged is on disk. */
  #crash(error: unknown): void {
    this.#log.fatal({ err: error }, `mistake in the program: ${messageOf(error)}`);
    this.#exitNow(exitCodes.software);
  }

  #exitNow(code: number): never {
    this.#stderr.writeLastWords();
    process.exit(code);
  }
}
