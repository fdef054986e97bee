/** How a board is brought to its boot loader. Which loader listens after which reset was measured: README.md. */
import { wait } from '@holdfast/provisioning/time/wait';
import type { FindResetLine, ResetLine } from '../../gpio/reset-line.js';
import type { BytePort } from '../port/byte-port.js';
import type { FlashSettings } from './flash-settings.js';

/** Resolves when the reset is over and the loader's window has begun. */
export interface Reset {
  (port: BytePort, signal: AbortSignal): Promise<void>;
  /** It is words on the line, so a loader that listens already must be looked for first: they would put it out of step. */
  readonly isSpoken?: boolean;
}

/** Boards pull reset low for a moment when the line falls, through a capacitor that must have been charged before. */
const chargeMs = 50;

/** As an Arduino's USB port is wired; RTS goes along, since some boards take that one. */
export const resetByDtr: Reset = async (port, signal) => {
  await port.setModemLines({ dtr: false, rts: false });
  // Up again even when nobody waits any longer: some boards stand still while it is down.
  await wait(chargeMs, signal).finally(() => port.setModemLines({ dtr: true, rts: true }));
};

export const resetByRts: Reset = async (port, signal) => {
  await port.setModemLines({ rts: false });
  await wait(chargeMs, signal).finally(() => port.setModemLines({ rts: true }));
};

export const resetByGpio =
  (line: ResetLine): Reset =>
  (_port, signal) =>
    line.pulse(signal);

/** The application goes to its boot loader itself. */
export const resetByCommand: Reset = Object.assign(
  async (port: BytePort, signal: AbortSignal) => {
    await port.write(bootloaderFrame, signal);
    await port.drain();
  },
  { isSpoken: true },
);

const bootloaderFrame = Buffer.from('\n{"t":"bootloader"}\n');

/** As a configuration has it. CONFIGURATION_INVALID for a reset line that there is none of. */
export const resetOf = (
  { reset, resetLine = '' }: Pick<FlashSettings, 'reset' | 'resetLine'>,
  findResetLine: FindResetLine,
): Reset => {
  switch (reset) {
    case 'dtr':
      return resetByDtr;
    case 'rts':
      return resetByRts;
    case 'command':
      return resetByCommand;
    case 'gpio':
      return resetByGpio(findResetLine(resetLine));
  }
};
