/**
 * What becomes of lines when this process is killed: a shell of its own, which waits for the end of its standard input and then does what
 * it was told last. Whoever ends in good order takes back what was to be done.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Writable } from 'node:stream';

/** The holder of a line is killed with us, so the line is free within a moment. ABRT: a watchdog ends all of a service by it. */
const script = `
trap '' TERM INT HUP QUIT ABRT
try() { for n in 1 2 3 4 5 6 7 8 9 10; do "$@" 2>/dev/null && return; sleep 0.1; done; }
will=
while IFS= read -r line; do will=$line; done
eval "$will"
wait
`;

/** After the shell was ended by somebody. */
const againAfterMs = 500;

export class LastWill {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #wills = new Map<string, readonly string[]>();
  #shell: ChildProcessByStdio<Writable, null, null> | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor(environment: NodeJS.ProcessEnv) {
    this.#environment = environment;
  }

  /** Has `command` run for a line, in place of what was to be run before. */
  set(line: string, command: readonly string[]): void {
    this.#wills.set(line, command);
    this.#tell();
  }

  drop(line: string): void {
    if (!this.#wills.delete(line)) return;
    this.#tell();
    if (this.#wills.size > 0) return;
    this.#shell?.stdin.end();
    this.#shell = undefined;
  }

  #tell(): void {
    const commands = [...this.#wills.values()].map(
      (words) => `try ${words.map(quoted).join(' ')} &`,
    );
    this.#open().stdin.write(`${commands.join(' ')}\n`);
  }

  /** A relay may stay as it is for months, and nobody would set another will. */
  #tellAnother(): void {
    this.#again ??= setTimeout(() => {
      this.#again = undefined;
      if (this.#wills.size === 0 || this.#shell !== undefined) return;
      try {
        this.#tell();
      } catch {
        // There is no process to be had just now.
        this.#tellAnother();
      }
    }, againAfterMs).unref();
  }

  #open(): ChildProcessByStdio<Writable, null, null> {
    if (this.#shell !== undefined) return this.#shell;
    // A session of its own, so that no key of the terminal ends it before us.
    const shell = spawn('/bin/sh', ['-c', script], {
      env: this.#environment,
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    shell.unref();
    const forget = (): void => {
      if (this.#shell !== shell) return;
      this.#shell = undefined;
      this.#tellAnother();
    };
    shell.once('error', forget);
    shell.once('exit', forget);
    shell.stdin.on('error', forget);
    this.#shell = shell;
    return shell;
  }
}

/** As a word of the shell. */
const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;
