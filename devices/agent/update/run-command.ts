/**
 * Runs one command as a process group of its own to its end, within a time and an amount of output.
 *
 * Whatever it leaves running is ended with it. Errors: `COMMAND_FAILED` (it does not start, or ends with another code than 0),
 * `DEADLINE_EXCEEDED`, the signal's reason.
 */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { endGroup, groupMarker } from './process-group.js';

export interface Command {
  readonly command: readonly string[];
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Written to its standard input. */
  readonly input?: string;
  readonly timeoutMs: number;
  /** Of standard output; what is beyond is dropped and told. */
  readonly maxOutputBytes?: number;
  /** Marks its processes, so that a successor of this one finds what a kill of this one left running. */
  readonly owner?: string;
  /** A line of its output, standard error too. */
  readonly said?: (line: string) => void;
  readonly started?: (pid: number) => void;
  readonly signal: AbortSignal;
}

export interface CommandResult {
  readonly output: string;
  readonly isTruncated: boolean;
}

const defaultOutputBytes = 65_536;
/** A timer of more ends at once, one of a part of a millisecond is refused. */
const longestTimeoutMs = 2 ** 31 - 1;
/** Of what it wrote last on standard error, to explain a failure. */
const maxExplanation = 500;
const maxLine = 4_096;
const endGraceMs = 5_000;

/** A line of the shell as a command. */
export const shell = (line: string, ...parameters: readonly string[]): readonly string[] => [
  '/bin/sh',
  '-c',
  line,
  'sh',
  ...parameters,
];

export const runCommand = async (options: Command): Promise<CommandResult> => {
  const { command, cwd, environment, input, timeoutMs, owner, said, signal } = options;
  const { maxOutputBytes = defaultOutputBytes, started } = options;
  signal.throwIfAborted();
  const [program = '', ...parameters] = command;
  // The options of a program that runs this one, a test runner say, are nothing to a command.
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  const child = spawn(program, parameters, {
    ...(cwd !== undefined && { cwd }),
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...inherited, ...environment, ...(owner !== undefined && { [groupMarker]: owner }) },
  });
  const output = collect(child.stdout, maxOutputBytes, said);
  const explanation = collectLast(child.stderr, said);
  // A command that reads nothing closes its end early.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input ?? '');
  const ended = new Promise<string | null>((resolve) => {
    child.once('error', (error) => resolve(messageOf(error)));
    // Not `close`: what it started may hold its pipes open for ever.
    child.once('exit', (code, by) =>
      resolve(code === 0 ? null : by === null ? `exit ${String(code)}` : by),
    );
  });
  if (child.pid !== undefined) started?.(child.pid);
  const deadline = AbortSignal.timeout(Math.min(Math.ceil(timeoutMs), longestTimeoutMs));
  const stop = AbortSignal.any([signal, deadline]);
  const end = () => void endGroup(child, endGraceMs);
  stop.addEventListener('abort', end, { once: true });
  if (stop.aborted) end();
  try {
    const failure = await ended;
    signal.throwIfAborted();
    if (deadline.aborted) {
      const message = `${program} took longer than ${String(timeoutMs)} ms`;
      throw new HoldfastError('DEADLINE_EXCEEDED', message);
    }
    // What it wrote last may still be in the pipe.
    await Promise.race([
      drained(child.stdout, child.stderr),
      new Promise((r) => setTimeout(r, 200)),
    ]);
    if (failure === null) return output();
    const why = explanation();
    throw new HoldfastError('COMMAND_FAILED', why === '' ? failure : `${failure}: ${why}`);
  } finally {
    stop.removeEventListener('abort', end);
    await endGroup(child, 0);
  }
};

const drained = (...streams: readonly Readable[]): Promise<unknown> =>
  Promise.all(
    streams.map((stream) =>
      stream.readableEnded ? null : new Promise((resolve) => stream.once('close', resolve)),
    ),
  );

const collect = (
  stream: Readable,
  maxBytes: number,
  said: ((line: string) => void) | undefined,
): (() => CommandResult) => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    if (bytes < maxBytes) chunks.push(chunk.subarray(0, maxBytes - bytes));
    bytes += chunk.length;
  });
  stream.on('error', () => undefined);
  tellLines(stream, said);
  return () => ({ output: Buffer.concat(chunks).toString(), isTruncated: bytes > maxBytes });
};

const collectLast = (
  stream: Readable,
  said: ((line: string) => void) | undefined,
): (() => string) => {
  let last = '';
  stream.on('data', (chunk: Buffer) => {
    last = (last + chunk.toString()).slice(-maxExplanation);
  });
  stream.on('error', () => undefined);
  tellLines(stream, said);
  return () => last.trim();
};

/** Programs that draw a bar end their lines with a carriage return. */
const tellLines = (stream: Readable, said: ((line: string) => void) | undefined): void => {
  if (said === undefined) return;
  let rest = '';
  stream.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split(/[\r\n]+/);
    rest = (lines.pop() ?? '').slice(-maxLine);
    for (const line of lines) if (line !== '') said(line.slice(0, maxLine));
  });
};
