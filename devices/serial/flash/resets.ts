/** How a board is brought to its boot loader. Which loader listens after which reset was measured: README.md. */
import { wait } from '@holdfast/provisioning/time/wait';
import type { FindResetLine, ResetLine } from '../../gpio/reset-line.js';
import type { Checksum } from '../checksum.js';
import { encodeFrame } from '../frames.js';
import type { BytePort } from '../port/byte-port.js';
import { type PortSettings, usualSettings } from '../port/port-settings.js';
import type { FlashSettings } from './flash-settings.js';

/** Resolves when the reset is over and the loader's window has begun. */
export interface Reset {
  /** `attempt` counts from 1 in one search for the loader. */
  (port: BytePort, signal: AbortSignal, attempt?: number): Promise<void>;
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

export interface SpokenReset {
  /** What the application is spoken to with, where that is not how the loader is. */
  readonly application: Partial<PortSettings>;
  readonly loader: Partial<PortSettings>;
}

/**
 * The application goes to its boot loader itself. What checksum its hello promised nobody may know by now, and one that promised any takes no
 * frame without: so it is told in another way each time, first as the client for microcontrollers wants it. All of them at once would not do:
 * what follows the one that it takes is for the loader.
 */
export const resetByCommand = ({ application, loader }: SpokenReset): Reset =>
  Object.assign(
    async (port: BytePort, signal: AbortSignal, attempt = 1) => {
      const checksum = checksums[(attempt - 1) % checksums.length] ?? false;
      await port.change(application);
      try {
        await port.write(Buffer.from(`\n${encodeFrame({ t: 'bootloader' }, checksum)}`), signal);
        await port.drain();
      } finally {
        await port.change(loader);
      }
    },
    { isSpoken: true },
  );

const checksums: readonly Checksum[] = [32, false, true];

/** As a configuration has it; `line` is how the application is spoken to. CONFIGURATION_INVALID for a reset line that there is none of. */
export const resetOf = (
  { reset, resetLine = '', baudRate }: Pick<FlashSettings, 'reset' | 'resetLine' | 'baudRate'>,
  { findResetLine, line }: { readonly findResetLine: FindResetLine; readonly line: PortSettings },
): Reset => {
  switch (reset) {
    case 'dtr':
      return resetByDtr;
    case 'rts':
      return resetByRts;
    case 'command':
      return resetByCommand({
        application: line,
        loader: { ...usualSettings, baudRate: baudRate ?? line.baudRate },
      });
    case 'gpio':
      return resetByGpio(findResetLine(resetLine));
  }
};
