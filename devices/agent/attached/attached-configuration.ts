/** `attached` of the agent's configuration: the microcontroller that it speaks for. Errors: `CONFIGURATION_INVALID`. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  choice,
  integer,
  optionalText,
  type SettingInfo,
  section,
} from '@holdfast/provisioning/program/settings';
import * as v from 'valibot';
import { flashSettings } from '../../serial/flash/flash-settings.js';
import { parseUsbAddress } from '../../serial/port/usb-address.js';
import { defaultSerialDriver } from '../../serial/serial-drivers.js';
import type { AttachedSection } from './open-attached.js';

const readJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

export const attachedSection = section(
  'A microcontroller on a serial line that this agent speaks for: the device is the microcontroller then (README.md, "A microcontroller behind a Pi").',
  {
    path: optionalText({ description: 'Its port, as /dev/ttyUSB0; or `usb`.' }),
    usb: optionalText({
      description: 'Its port by its USB id, as 2341:0043 or 2341:0043:SERIAL.',
    }),
    baudRate: integer({ default: 115_200, min: 50, max: 4_000_000, description: 'Its speed.' }),
    driver: choice([defaultSerialDriver], {
      default: defaultSerialDriver,
      description: 'What is spoken on it.',
    }),
    flash: v.optional(
      v.pipe(
        flashSettings,
        v.metadata({
          setting: {
            type: 'map',
            default: undefined,
            description:
              '{protocol: stk500v1 | stk500v2 | mcuboot-smp, part, reset: dtr | rts | gpio | command, baudRate, loader, resetLine} of its boot loader; in a flag or a variable as JSON. Without it firmware is refused.',
            read: readJson,
          } satisfies SettingInfo,
        }),
      ),
    ),
  },
);

/** Null where no microcontroller is named. */
export const attachedOf = ({
  path,
  usb,
  flash,
  ...rest
}: v.InferOutput<typeof attachedSection>): AttachedSection | null => {
  if (path === undefined && usb === undefined) {
    if (flash === undefined) return null;
    throw invalid('attached.flash is there, and neither attached.path nor attached.usb');
  }
  if (path !== undefined && usb !== undefined) {
    throw invalid('attached has both path and usb: one of them names the port');
  }
  if (usb !== undefined && parseUsbAddress(usb) === null) {
    throw invalid(`attached.usb is ${usb}: it has to be as 2341:0043 or 2341:0043:SERIAL`);
  }
  return {
    ...rest,
    address: path !== undefined ? { path } : { usb: usb ?? '' },
    ...(flash !== undefined && { flash }),
  };
};

const invalid = (message: string) => new HoldfastError('CONFIGURATION_INVALID', message);
