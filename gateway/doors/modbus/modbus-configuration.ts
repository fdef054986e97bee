/** `modbus` of a site: which units stand on which bus, and what their registers mean. */
import { modbusTimeoutMs, unitNumber } from '@holdfast/devices/modbus/modbus-driver';
import { type RegisterMapEntries, registerMapSchema } from '@holdfast/devices/modbus/register-map';
import { parseTcpAddress } from '@holdfast/devices/modbus/tcp-port';
import type { PortAddress } from '@holdfast/devices/serial/port/port-settings';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { list, section } from '@holdfast/provisioning/program/settings';
import * as v from 'valibot';
import { addressOf, portEntries } from '../serial/serial-configuration.js';

const deviceId = v.pipe(
  v.string(),
  v.check(isDeviceId, 'must be a device id: 1 to 64 of [A-Za-z0-9_-]'),
);

export const modbusUnit = v.strictObject({
  /** Id of the device that the unit is; the gateway vouches for it by its bus. */
  device: deviceId,
  /** Its number on the bus. */
  unit: unitNumber,
  /** The name of one of `modbus.maps`. */
  map: v.string(),
});

const { baudRate: _fast, ...port } = portEntries;

export const modbusBus = v.pipe(
  v.strictObject({
    /** As `holdfast modbus` calls it. */
    name: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 of [A-Za-z0-9_-]')),
    ...port,
    /** As meters leave the factory. */
    baudRate: v.optional(
      v.pipe(v.number(), v.integer(), v.minValue(50), v.maxValue(4_000_000)),
      9_600,
    ),
    /** In place of a serial port: as `192.168.1.20` or `192.168.1.20:502`. */
    tcp: v.exactOptional(
      v.pipe(
        v.string(),
        v.check((text) => parseTcpAddress(text) !== null, 'must be an address as 192.168.1.20:502'),
      ),
    ),
    /** Of `tcp`: `rtu` is for a converter that hands a serial bus through as it is. */
    framing: v.exactOptional(v.picklist(['tcp', 'rtu'], 'must be tcp or rtu')),
    /** How long a unit may take for an answer. */
    timeoutMs: v.optional(modbusTimeoutMs, 500),
    units: v.pipe(
      v.array(modbusUnit),
      v.minLength(1, 'must name a unit'),
      v.maxLength(247, 'must not name more units than a bus has numbers'),
    ),
  }),
  v.check(
    (bus) =>
      bus.tcp === undefined
        ? addressOf(bus) !== null
        : addressOf(bus) === null && !('path' in bus || 'usb' in bus),
    'must have one of path, usb and tcp',
  ),
  v.check(
    ({ tcp, framing }) => framing === undefined || tcp !== undefined,
    'framing goes with tcp: a serial bus is rtu',
  ),
);

export type ModbusBusConfiguration = v.InferOutput<typeof modbusBus>;

export const modbusSection = section(
  'Meters, drives and controllers that speak Modbus RTU or TCP.',
  {
    maps: list(registerMapSchema, {
      description:
        'What the registers of a model mean: name, model, registers (name, kind, address, type, byteOrder, scale, offset, unit, pollS, deadBand, atLeastEveryS, notAvailable, writable, minimum, maximum, readBack, reported, telemetry of each), mostGap (8) and mostRegisters (125). See doors/modbus/README.md',
    }),
    buses: list(modbusBus, {
      description:
        'name, path, usb or tcp (with framing: `tcp`, or `rtu` for a converter), baudRate (9600), dataBits (8), parity (none), stopBits (1), timeoutMs (500) and units (device, unit, map) of each bus',
    }),
  },
);

export interface ModbusConfiguration {
  readonly maps: readonly RegisterMapEntries[];
  readonly buses: readonly ModbusBusConfiguration[];
}

/** Where a bus is: a port of this machine, or `tcp HOST:PORT`. */
export const busAddress = (bus: ModbusBusConfiguration): PortAddress | null => {
  const tcp = bus.tcp === undefined ? null : parseTcpAddress(bus.tcp);
  return tcp === null ? addressOf(bus) : { path: `tcp ${hostText(tcp.host)}:${tcp.port}` };
};

const hostText = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** The buses at ports of this machine, for whoever looks at those. */
export const serialBuses = (
  buses: readonly ModbusBusConfiguration[],
): { readonly name: string; readonly address: PortAddress }[] =>
  buses.flatMap((bus) => {
    const address = bus.tcp === undefined ? addressOf(bus) : null;
    return address === null ? [] : [{ name: bus.name, address }];
  });
