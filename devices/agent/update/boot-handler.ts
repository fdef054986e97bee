/**
 * The boot loader through a program of the device's own, for tools that leave the choice of the copy to others:
 * `HANDLER booted` prints the name of the copy that runs; `HANDLER activate|confirm|reject COPY` end with 0 when it is done.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { BootControl } from './copies-installer.js';
import { runCommand } from './run-command.js';
import type { Slot } from './update-state.js';

export interface BootHandlerOptions {
  readonly program: string;
  /** What the handler calls the two copies. */
  readonly copies: Readonly<Record<Slot, string>>;
  readonly timeoutMs?: number;
}

export const openBootHandler = ({
  program,
  copies,
  timeoutMs = 60_000,
}: BootHandlerOptions): BootControl => {
  const call = async (...parameters: readonly string[]): Promise<string> => {
    const { signal } = new AbortController();
    const { output } = await runCommand({ command: [program, ...parameters], timeoutMs, signal });
    return output.trim();
  };
  const tell = (verb: string) => async (slot: Slot) => {
    await call(verb, copies[slot]);
  };
  return {
    booted: async () => {
      const name = await call('booted');
      if (name === copies.a) return 'a';
      if (name === copies.b) return 'b';
      const message = `${program} says that ${JSON.stringify(name.slice(0, 100))} is booted; the copies are ${copies.a} and ${copies.b}`;
      throw new HoldfastError('UPDATE_INSTALL_FAILED', message);
    },
    activate: tell('activate'),
    confirm: tell('confirm'),
    reject: tell('reject'),
  };
};
