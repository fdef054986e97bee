/** The buses of a configuration as lines with a driver, and what is known of each while it runs. */
import type { ModbusBus } from '@holdfast/devices/modbus/modbus-bus';
import { createModbusDriver } from '@holdfast/devices/modbus/modbus-driver';
import {
  type RegisterMap,
  type RegisterMapEntries,
  readMap,
} from '@holdfast/devices/modbus/register-map';
import { explainTcp, openTcpPort } from '@holdfast/devices/modbus/tcp-port';
import { addressText, type PortAddress } from '@holdfast/devices/serial/port/port-settings';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { settingsOf } from '../serial/serial-configuration.js';
import type { WiredLine } from '../serial/serial-door.js';
import {
  busAddress,
  type ModbusBusConfiguration,
  type ModbusConfiguration,
} from './modbus-configuration.js';

export interface ModbusLine {
  readonly name: string;
  readonly bus: ModbusBus;
  readonly timeoutMs: number;
  readonly units: readonly {
    readonly device: string;
    readonly unit: number;
    readonly map: RegisterMap;
  }[];
}

export interface ModbusLines {
  /** For the door that serves them. */
  readonly wired: readonly WiredLine[];
  /** Every bus that the door has made. */
  lines(): readonly ModbusLine[];
}

/** What a network brings is bounded too, but not as a wire. */
const networkBytesPerSecond = 2 * 1024 * 1024;

/** Opens nothing. CONFIGURATION_INVALID for a map that is named twice, or by a unit and not there. */
export const modbusLines = ({ maps, buses }: ModbusConfiguration): ModbusLines => {
  const known = new Map<string, RegisterMapEntries>();
  for (const map of maps) {
    if (known.has(map.name)) throw wrong(`modbus.maps: ${map.name} is named twice`);
    known.set(map.name, map);
  }
  const made = new Map<string, ModbusBus>();
  const driver = createModbusDriver({ onBus: (name, bus) => made.set(name, bus) });
  const resolved = buses.map((configuration) => {
    const units = configuration.units.map(({ device, unit, map: name }) => {
      const map = known.get(name);
      if (map !== undefined) return { device, unit, map };
      const there = known.size === 0 ? 'none' : [...known.keys()].join(', ');
      throw wrong(
        `modbus.buses: ${device} of ${configuration.name} wants the map ${name}; there are ${there}`,
      );
    });
    return { configuration, units };
  });
  return {
    wired: resolved.map(({ configuration, units }) => ({
      ...lineOf(configuration),
      driver,
      devices: units.map(({ device, unit, map }) => ({ device, settings: { unit, map } })),
    })),
    lines: () =>
      resolved.flatMap(({ configuration: { name, timeoutMs }, units }) => {
        const bus = made.get(name);
        return bus === undefined
          ? []
          : [
              {
                name,
                bus,
                timeoutMs,
                units: units.map(({ map, ...unit }) => ({ ...unit, map: readMap(map) })),
              },
            ];
      }),
  };
};

const lineOf = (bus: ModbusBusConfiguration): Omit<WiredLine, 'driver' | 'devices'> => {
  const address = busAddress(bus);
  if (address === null) throw wrong(`modbus.buses: ${bus.name} has one of path, usb and tcp`);
  const isNetwork = bus.tcp !== undefined;
  return {
    door: 'modbus',
    name: bus.name,
    address,
    settings: settingsOf(bus),
    driverOptions: {
      framing: isNetwork ? (bus.framing ?? 'tcp') : 'rtu',
      isNetwork,
      timeoutMs: bus.timeoutMs,
    },
    ...(isNetwork && {
      maxBytesPerSecond: networkBytesPerSecond,
      port: { openPort: openTcpPort, findPort: asNamed, explain: explainTcp },
    }),
  };
};

const asNamed = async (address: PortAddress) => ({ path: addressText(address) });

const wrong = (message: string): HoldfastError =>
  new HoldfastError('CONFIGURATION_INVALID', message);
