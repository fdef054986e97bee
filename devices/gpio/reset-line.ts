/**
 * A line that resets a microcontroller, as flashing needs it. It is held for the pulse alone: whoever else resets the board, a button or
 * a programmer, must not work against it.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Wait, wait as waitFor } from '@holdfast/provisioning/time/wait';
import type { GpioLines, LineAddress } from './gpio-lines.js';
import type { ConfiguredLine } from './line-settings.js';

export interface ResetLine {
  /** Resolves when the board runs again. Errors: GPIO_UNAVAILABLE, and the signal's reason, with the line released all the same. */
  pulse(signal: AbortSignal): Promise<void>;
}

/** The reset line of that name. Errors: CONFIGURATION_INVALID when there is none. */
export type FindResetLine = (name: string) => ResetLine;

export interface ResetLineDeps {
  readonly gpio: GpioLines;
  readonly wait?: Wait;
}

export const defaultPulseMs = 100;

export const resetLine = (
  { gpio, wait = waitFor }: ResetLineDeps,
  address: LineAddress,
  { pulseMs = defaultPulseMs }: { readonly pulseMs?: number } = {},
): ResetLine => ({
  pulse: async (signal) => {
    signal.throwIfAborted();
    // Killed in between it would keep the board in reset.
    const line = gpio.output(address, { leaveAt: false });
    try {
      await line.set(true);
      await wait(pulseMs, signal).finally(() => line.set(false));
    } finally {
      await line.close();
    }
  },
});

/** The line of a configuration that has this name and the role `reset`. CONFIGURATION_INVALID when there is none. */
export const resetLineNamed = (lines: readonly ConfiguredLine[], name: string): ConfiguredLine => {
  const resets = lines.filter(({ role }) => role === 'reset');
  const found = resets.find((line) => line.name === name);
  if (found !== undefined) return found;
  const known = resets.map((line) => line.name).join(', ');
  throw new HoldfastError(
    'CONFIGURATION_INVALID',
    `gpio.lines has no line '${name}' with the role reset (${known || 'it has none at all'})`,
  );
};

/** Those lines of a configuration that have the role `reset`, by name. */
export const findResetLine =
  (deps: ResetLineDeps, lines: readonly ConfiguredLine[]): FindResetLine =>
  (name) => {
    const found = resetLineNamed(lines, name);
    return resetLine(deps, found, { pulseMs: found.pulseMs ?? defaultPulseMs });
  };
