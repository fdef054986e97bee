/** `serial.lines` of a site: which devices stand on which port, and what is spoken there. */
import { flashSettings } from '@holdfast/devices/serial/flash/flash-settings';
import {
  type PortAddress,
  type PortSettings,
  usualSettings,
} from '@holdfast/devices/serial/port/port-settings';
import { parseUsbAddress } from '@holdfast/devices/serial/port/usb-address';
import { defaultSerialDriver, serialDriverNames } from '@holdfast/devices/serial/serial-drivers';
import { isDriverFile } from '@holdfast/devices/serial/site-driver';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import * as v from 'valibot';

const deviceId = v.pipe(
  v.string(),
  v.check(isDeviceId, 'must be a device id: 1 to 64 of [A-Za-z0-9_-]'),
);

/** Of every configuration that names a port. */
export const portEntries = {
  /** As `/dev/ttyUSB0`. */
  path: v.exactOptional(v.pipe(v.string(), v.minLength(1))),
  /** As `2341:0043`, `2341:0043:SERIAL` or `1a86:7523@1-1.2`. */
  usb: v.exactOptional(
    v.pipe(
      v.string(),
      v.check(
        (text) => parseUsbAddress(text) !== null,
        'must be the USB id of a port, as 2341:0043 or 2341:0043:SERIAL ("holdfast --gateway serial list" shows them)',
      ),
    ),
  ),
  baudRate: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(50), v.maxValue(4_000_000)),
    usualSettings.baudRate,
  ),
  dataBits: v.optional(v.picklist([7, 8], 'must be 7 or 8'), usualSettings.dataBits),
  parity: v.optional(
    v.picklist(['none', 'even', 'odd'], 'must be none, even or odd'),
    usualSettings.parity,
  ),
  stopBits: v.optional(v.picklist([1, 2], 'must be 1 or 2'), usualSettings.stopBits),
};

export interface NamedPort extends PortSettings {
  readonly path?: string;
  readonly usb?: string;
}

/** The address that `portEntries` gives; null unless it is named in exactly one way. */
export const addressOf = ({ path, usb }: Pick<NamedPort, 'path' | 'usb'>): PortAddress | null => {
  if (path !== undefined) return usb === undefined ? { path } : null;
  return usb === undefined ? null : { usb };
};

export const settingsOf = ({ baudRate, dataBits, parity, stopBits }: NamedPort): PortSettings => ({
  baudRate,
  dataBits,
  parity,
  stopBits,
});

export const serialLine = v.pipe(
  v.strictObject({
    /** Id of the device on this line; the gateway vouches for it by the line. */
    device: v.exactOptional(deviceId),
    /** The same where there are several, with what the driver is to know of each. */
    devices: v.exactOptional(
      v.pipe(
        v.array(v.strictObject({ device: deviceId, settings: v.exactOptional(v.unknown()) })),
        v.minLength(1, 'must name a device, or be left out'),
      ),
    ),
    /** As `holdfast serial` calls the line; its first device by default. */
    name: v.exactOptional(
      v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 of [A-Za-z0-9_-]')),
    ),
    ...portEntries,
    /** What is spoken on it. */
    driver: v.optional(
      v.pipe(
        v.string(),
        v.check(
          (name) => serialDriverNames.includes(name) || isDriverFile(name),
          `must be one of ${serialDriverNames.join(', ')}, or the file of a driver as ./drivers/scale.js`,
        ),
      ),
      defaultSerialDriver,
    ),
    /** What the driver is to know of the line. */
    options: v.exactOptional(v.unknown()),
    /** How the gateway flashes the device; without it, the device fetches its image itself. */
    flash: v.exactOptional(flashSettings),
  }),
  v.check((line) => addressOf(line) !== null, 'must have either path or usb'),
  v.check(
    ({ device, devices }) => (device === undefined) !== (devices === undefined),
    'must have either device or devices',
  ),
  v.check(
    ({ flash, devices }) => flash === undefined || devices === undefined || devices.length === 1,
    'only a line with one device can be flashed',
  ),
);

export type SerialLineConfiguration = v.InferOutput<typeof serialLine>;

export const devicesOf = ({
  device,
  devices,
}: Pick<SerialLineConfiguration, 'device' | 'devices'>): readonly {
  readonly device: string;
  readonly settings?: unknown;
}[] => devices ?? (device === undefined ? [] : [{ device }]);

export const lineNameOf = (
  line: Pick<SerialLineConfiguration, 'name' | 'device' | 'devices'>,
): string => line.name ?? devicesOf(line)[0]?.device ?? '';

/** What the lines of a configuration are called, and where they are. */
export const namedLines = (
  lines: readonly SerialLineConfiguration[],
): { readonly name: string; readonly address: PortAddress }[] =>
  lines.flatMap((line) => {
    const address = addressOf(line);
    return address === null ? [] : [{ name: lineNameOf(line), address }];
  });
