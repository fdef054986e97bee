/** How a board is brought to its boot loader. Which loader listens after which reset was measured: README.md. */
import { wait } from '@holdfast/provisioning/time/wait';
import type { BytePort } from '../port/byte-port.js';

/** Resolves when the reset is over and the loader's window has begun. */
export interface Reset {
  (port: BytePort, signal: AbortSignal): Promise<void>;
  /** It is words on the line, so a loader that listens already must be looked for first: they would put it out of step. */
  readonly isSpoken?: boolean;
}

/** A line that is wired to the microcontroller's reset pin. */
export interface ResetLine {
  /** True holds the board in reset. */
  write(active: boolean): Promise<void>;
}

/** Boards pull reset low for a moment when the line falls, through a capacitor that must have been charged before. */
const chargeMs = 50;
/** What a GPIO line holds reset for; the datasheet asks for 2.5 µs. */
const holdMs = 10;

/** As an Arduino's USB port is wired; RTS goes along, since some boards take that one. */
export const resetByDtr: Reset = async (port, signal) => {
  await port.setModemLines({ dtr: false, rts: false });
  await wait(chargeMs, signal);
  await port.setModemLines({ dtr: true, rts: true });
};

export const resetByRts: Reset = async (port, signal) => {
  await port.setModemLines({ rts: false });
  await wait(chargeMs, signal);
  await port.setModemLines({ rts: true });
};

export const resetByGpio =
  (line: ResetLine): Reset =>
  async (_port, signal) => {
    await line.write(true);
    // Let go of it even when nobody waits any longer: a line that stays low is a board that stays dead.
    await wait(holdMs, signal).finally(() => line.write(false));
  };

/** The application goes to its boot loader itself. */
export const resetByCommand: Reset = Object.assign(
  async (port: BytePort, signal: AbortSignal) => {
    await port.write(bootloaderFrame, signal);
    await port.drain();
  },
  { isSpoken: true },
);

const bootloaderFrame = Buffer.from('\n{"t":"bootloader"}\n');
