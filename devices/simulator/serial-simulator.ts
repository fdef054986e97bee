/** A simulated serial device as a program: on a port that is there, or at the far end of a pseudo-terminal that it makes itself. */
import { join } from 'node:path';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { SerialPort } from 'serialport';
import { openPseudoTerminal } from '../serial/pseudo-terminal.js';
import { openSimulatedFlash } from './simulated-flash.js';
import { type DeviceLine, SimulatedSerialDevice } from './simulated-serial-device.js';

export interface SerialSimulatorOptions {
  /** Where what it was updated to is kept. */
  readonly dataDir: string;
  readonly id: string;
  readonly model: string;
  readonly version: string;
  readonly intervalMs: number;
  readonly baudRate: number;
  readonly port?: string;
  /** The name that a gateway opens; it follows the pseudo-terminal. */
  readonly pty?: string;
}

export interface SerialSimulator {
  close(): Promise<void>;
}

export const openSerialSimulator = async (
  { log }: { readonly log: StoreLog },
  options: SerialSimulatorOptions,
): Promise<SerialSimulator> => {
  const { dataDir, id, model, version, intervalMs, baudRate, port, pty } = options;
  const flash = await openSimulatedFlash({ log }, { directory: join(dataDir, id), version });
  const line =
    port === undefined
      ? await openPseudoTerminal(pty === undefined ? {} : { link: pty })
      : await openPort(port, baudRate);
  const device = new SimulatedSerialDevice(
    { line, flash },
    { id, model, version, telemetryIntervalMs: intervalMs },
  );
  device.open();
  return {
    close: async () => {
      device.close();
      await line.close();
    },
  };
};

const openPort = async (
  path: string,
  baudRate: number,
): Promise<DeviceLine & { close: () => Promise<void> }> => {
  const port = new SerialPort({ path, baudRate, autoOpen: false });
  await new Promise<void>((resolve, reject) => {
    port.open((error) => (error ? reject(error) : resolve()));
  });
  port.on('error', () => undefined);
  return {
    write: (bytes) => void port.write(bytes),
    onData: (listener) => void port.on('data', listener),
    close: () =>
      new Promise((resolve) => {
        if (port.isOpen) port.close(() => resolve());
        else resolve();
      }),
  };
};
