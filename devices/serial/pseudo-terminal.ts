/**
 * A serial line without hardware: a pseudo-terminal whose near end has a path like any port, and whose far end is ours to read and
 * write. `script` of Debian's essential bsdutils makes it; Node has no call for it.
 *
 * Modem lines and baud rates do not exist on it. Errors: `SERIAL_LINE_DOWN` when no pseudo-terminal could be made.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rename, rm, symlink } from 'node:fs/promises';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

export interface PseudoTerminal {
  /** What a gateway opens. */
  readonly path: string;
  readonly write: (bytes: string | Uint8Array) => void;
  /** The one listener for what the near end wrote. */
  readonly onData: (listener: (chunk: Buffer) => void) => void;
  /** Resolves when the line is gone, for the near end too. */
  readonly close: () => Promise<void>;
}

export interface PseudoTerminalOptions {
  /** A symbolic link that follows the terminal: the same name for a line that vanishes and comes back. */
  readonly link?: string;
  readonly timeoutMs?: number;
}

/** What a near end that does not read may leave here; the rest is lost, as on a wire. */
const maxUnreadBytes = 8 * 1024 * 1024;

export const openPseudoTerminal = async (
  options: PseudoTerminalOptions = {},
): Promise<PseudoTerminal> => {
  const command = 'tty; stty raw -echo; echo; exec sleep infinity';
  const script = spawn('script', ['-qfc', command, '/dev/null'], { stdio: 'pipe' });
  let listener: (chunk: Buffer) => void = () => undefined;
  try {
    const path = await readPath(script, options.timeoutMs ?? 5_000);
    script.stdin.on('error', () => undefined);
    script.stdout.on('data', (chunk: Buffer) => listener(chunk));
    if (options.link !== undefined) await pointLink(options.link, path);
    return {
      path: options.link ?? path,
      write: (bytes) => {
        if (script.stdin.writableLength < maxUnreadBytes) script.stdin.write(bytes);
      },
      onData: (next) => {
        listener = next;
      },
      close: () => end(script, options.link),
    };
  } catch (cause) {
    await end(script, undefined);
    throw new HoldfastError('SERIAL_LINE_DOWN', 'No pseudo-terminal: is `script` there?', {
      cause,
    });
  }
};

/** The terminal says its name, then an empty line once it is raw. */
const readPath = async (
  script: ChildProcessWithoutNullStreams,
  timeoutMs: number,
): Promise<string> => {
  const signal = AbortSignal.timeout(timeoutMs);
  const failed = Promise.race([
    once(script, 'error', { signal }).then(([error]) => Promise.reject(error)),
    once(script, 'exit', { signal }).then(() => Promise.reject(new Error('it ended'))),
  ]);
  failed.catch(() => undefined);
  let said = '';
  for (;;) {
    const [chunk] = (await Promise.race([once(script.stdout, 'data', { signal }), failed])) as [
      Buffer,
    ];
    said += chunk.toString();
    const match = /^(\/dev\/\S+)\s*\n\s*\n/.exec(said);
    if (match?.[1] !== undefined) return match[1];
  }
};

const pointLink = async (link: string, path: string): Promise<void> => {
  const temporary = `${link}.${String(process.pid)}`;
  await rm(temporary, { force: true });
  await symlink(path, temporary);
  await rename(temporary, link);
};

const end = async (
  script: ChildProcessWithoutNullStreams,
  link: string | undefined,
): Promise<void> => {
  if (link !== undefined) await rm(link, { force: true });
  if (script.exitCode !== null || script.signalCode !== null || script.pid === undefined) return;
  const exited = once(script, 'exit');
  // The terminal hangs up with its master, which ends what runs inside.
  script.kill('SIGKILL');
  await exited;
};
