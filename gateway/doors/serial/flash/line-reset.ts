/** How the board of a line is brought to its boot loader, as the configuration has it. CONFIGURATION_INVALID for a reset line that there is none of. */
import type { ResetLine } from '@holdfast/devices/gpio/reset-line';
import type { FlashSettings } from '@holdfast/devices/serial/flash/flash-settings';
import {
  type Reset,
  resetByCommand,
  resetByDtr,
  resetByGpio,
  resetByRts,
} from '@holdfast/devices/serial/flash/resets';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

export const resetOf = (
  { device, flash }: { readonly device: string; readonly flash: FlashSettings },
  resetLine: ((name: string) => ResetLine | undefined) | undefined,
): Reset => {
  switch (flash.reset) {
    case 'dtr':
      return resetByDtr;
    case 'rts':
      return resetByRts;
    case 'command':
      return resetByCommand;
    case 'gpio': {
      const name = flash.resetLine ?? '';
      const line = resetLine?.(name);
      if (line !== undefined) return resetByGpio(line);
      const message = `serial.lines: ${device} is reset by ${name}, and gpio.lines has no line of this name with the role reset`;
      throw new HoldfastError('CONFIGURATION_INVALID', message);
    }
  }
};
