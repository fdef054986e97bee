/** Everything of a gateway that hangs on wires, which are doors like any other: serial lines, buses, and its own lines for inputs and relays. */
import type { GpioLines } from '@holdfast/devices/gpio/gpio-lines';
import { findResetLine } from '@holdfast/devices/gpio/reset-line';
import type { CommandPayload } from '@holdfast/protos/mqtt/command-payload';
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import type { GatewayConfiguration } from '../configuration.js';
import type { ShadowListener } from '../shadows/shadow-effects.js';
import { checkWires } from './check-wires.js';
import type { GpioDoorDeps } from './gpio/gpio-door.js';
import { openGpioDoor } from './gpio/open-gpio-door.js';
import type { Route } from './local/routes.js';
import { modbusLines } from './modbus/modbus-lines.js';
import { modbusRoutes } from './modbus/modbus-routes.js';
import { LineFlashing, type LineFlashingDeps } from './serial/flash/line-flashing.js';
import { openSerialDoor, type SerialDoor, type SerialDoorDeps } from './serial/serial-door.js';
import { SerialLines } from './serial/serial-lines.js';

export interface WiresDeps
  extends Omit<LineFlashingDeps, 'fence' | 'lifecycles' | 'findResetLine' | 'firmware'>,
    Omit<GpioDoorDeps, 'lifecycles'>,
    Omit<SerialDoorDeps, 'lines' | 'flashing' | 'fence' | 'lifecycles' | 'firmware'> {
  readonly fence: SerialDoorDeps['fence'] & GpioDoorDeps['fence'];
  readonly firmware: LineFlashingDeps['firmware'] & SerialDoorDeps['firmware'];
  readonly lifecycles: GpioDoorDeps['lifecycles'] & {
    onUnserved(
      listener: (gone: {
        readonly device: string;
        readonly error: Parameters<SerialDoor['refuse']>[1];
      }) => void,
    ): void;
  };
  readonly gpio: GpioLines;
}

export interface WiresOptions {
  readonly configuration: Pick<GatewayConfiguration, 'gpio' | 'modbus' | 'serial'>;
  /** What the files of drivers are relative to. */
  readonly folder: string;
  /** Of the gateway. */
  readonly version: string;
}

export type Wires = Awaited<ReturnType<typeof openWires>>;

/** Opens no port yet. CONFIGURATION_INVALID for what cannot stand together. */
export const openWires = async (
  deps: WiresDeps,
  { configuration, folder, version }: WiresOptions,
) => {
  checkWires(configuration);
  const { gpio, log, clock } = deps;
  const modbus = modbusLines(configuration.modbus);
  const lines = new SerialLines({
    now: () => clock.now(),
    flashOf: (device) => flashing.status(device),
    log,
  });
  const flashing: LineFlashing = new LineFlashing({
    ...deps,
    findResetLine: findResetLine({ gpio }, configuration.gpio.lines),
  });
  const serial = await openSerialDoor(
    { ...deps, lines, flashing },
    { ...configuration.serial, wired: modbus.wired, folder },
  );
  const own = openGpioDoor(deps, { ...configuration.gpio, version });
  deps.lifecycles.onUnserved(({ device, error }) => own?.refuse(device, error));
  const listeners: readonly ShadowListener[] = own === undefined ? [serial] : [serial, own];
  const routes: readonly Route[] = modbusRoutes({ buses: modbus.lines, lines });
  return {
    serial,
    lines,
    flashing,
    listeners,
    routes,
    /** The gateway's own inputs and relays, as people are shown them. */
    ownLines: () => own?.states() ?? [],
    sendCommand: async (device: string, command: string, payload: CommandPayload) => {
      await serial.sendCommand(device, command, payload);
      await own?.sendCommand(device, command);
    },
    offer: async (device: string, job: JobExecutionPayload) => {
      await serial.offer(device, job);
      await own?.offer(device, job);
    },
    /** Begins to keep the lines open; those that are away are waited for. */
    open: () => {
      serial.open();
      own?.open();
    },
    /** Idempotent. */
    close: async () => {
      await own?.close();
      await serial.close();
    },
  };
};
