/**
 * Devices on serial lines as devices of the site like any other. Each line stands for itself: its garbage, its floods and its absence
 * are nobody else's.
 */
import type { DrivenLine, DrivenLineOptions } from '@holdfast/devices/serial/driven-line';
import type { FlashSettings } from '@holdfast/devices/serial/flash/flash-settings';
import { addressText, usualSettings } from '@holdfast/devices/serial/port/port-settings';
import type { SerialDriver } from '@holdfast/devices/serial/serial-driver';
import { serialDriver } from '@holdfast/devices/serial/serial-drivers';
import { isDriverFile, loadSiteDriver } from '@holdfast/devices/serial/site-driver';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { CommandPayload } from '@holdfast/protos/mqtt/command-payload';
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowChange } from '../../shadows/shadow-change.js';
import type { ShadowListener } from '../../shadows/shadow-effects.js';
import { DeviceLine, type DeviceLineDeps, type DeviceLineOptions } from './device-line.js';
import type { LineFlashing } from './flash/line-flashing.js';
import {
  addressOf,
  devicesOf,
  lineNameOf,
  type SerialLineConfiguration,
  settingsOf,
} from './serial-configuration.js';
import type { LineWish, SerialLines } from './serial-lines.js';

export interface SerialDoorDeps extends DeviceLineDeps {
  readonly lines: SerialLines;
  /** Those of the site, by their files. */
  readonly drivers?: ReadonlyMap<string, SerialDriver>;
  /** Without it no line is flashed. */
  readonly flashing?: LineFlashing;
  readonly fence: DeviceLineDeps['fence'] & {
    onRaised(listener: (reason: { readonly message: string }) => void): () => void;
  };
}

/** A line of whatever door, with what is spoken on it and the devices that stand on it. */
export interface WiredLine extends Pick<LineWish, 'driver' | 'port'>, WiredLineOptions {
  readonly door: DeviceLineOptions['door'];
  readonly devices: readonly { readonly device: string; readonly settings?: unknown }[];
  /** Where the gateway flashes its device. */
  readonly flash?: FlashSettings;
}

type WiredLineOptions = Pick<DrivenLineOptions, 'name' | 'address' | 'maxBytesPerSecond'> &
  Required<Pick<DrivenLineOptions, 'settings'>> & { readonly driverOptions: unknown };

export interface SerialDoorOptions {
  readonly lines: readonly SerialLineConfiguration[];
  /** Of other doors, whose devices are served as those of serial lines. */
  readonly wired?: readonly WiredLine[];
  readonly retryDelayMs?: (attempt: number) => number;
  readonly resendAfterMs?: number;
}

export interface OpenSerialDoorOptions extends SerialDoorOptions {
  /** What the files of drivers are relative to. */
  readonly folder: string;
}

/** Loads the drivers that the site brings, and opens nothing else yet. CONFIGURATION_INVALID. */
export const openSerialDoor = async (
  deps: SerialDoorDeps,
  { folder, ...options }: OpenSerialDoorOptions,
): Promise<SerialDoor> => {
  const files = options.lines.map(({ driver }) => driver).filter(isDriverFile);
  const drivers = new Map<string, SerialDriver>();
  for (const file of new Set(files)) drivers.set(file, await loadSiteDriver(file, { folder }));
  return new SerialDoor({ ...deps, drivers }, options);
};

export class SerialDoor implements ShadowListener {
  readonly #deps: SerialDoorDeps;
  readonly #lines: DrivenLine[] = [];
  readonly #devices = new Map<string, DeviceLine>();
  #stop: (() => void) | undefined;

  /** CONFIGURATION_INVALID when a device, a port or a line is named twice, or a driver can't serve its line. */
  constructor(deps: SerialDoorDeps, options: SerialDoorOptions) {
    this.#deps = deps;
    const { lines, wired = [], retryDelayMs, resendAfterMs } = options;
    const own = lines.map((line) => wiredLine(line, deps.drivers?.get(line.driver)));
    for (const one of [...own, ...wired]) {
      const { door, address, devices, name, driver } = one;
      const port = addressText(address);
      const ends = devices.map(({ device, settings }) => {
        const line = new DeviceLine(deps, {
          ...{ device, port, door },
          ...(resendAfterMs !== undefined && { resendAfterMs }),
        });
        if (this.#devices.has(device)) {
          throw new HoldfastError('CONFIGURATION_INVALID', `${name}: ${device} is named twice`);
        }
        this.#devices.set(device, line);
        return { line, served: { id: device, handlers: line.handlers, settings } };
      });
      const driven = deps.lines.drive(
        {
          ...{ driver, devices: ends.map(({ served }) => served) },
          ...(one.port && { port: one.port }),
          onState: ({ state }) => {
            for (const { device } of devices) deps.flashing?.lineChanged(device, state);
          },
        },
        {
          ...{ name, address, settings: one.settings, driverOptions: one.driverOptions },
          ...(one.maxBytesPerSecond && { maxBytesPerSecond: one.maxBytesPerSecond }),
          ...(retryDelayMs && { retryDelayMs }),
        },
      );
      for (const [index, { line }] of ends.entries()) {
        const serial = driven.devices[index];
        if (serial !== undefined) line.attach(serial);
      }
      const { flash } = one;
      const settings = { ...usualSettings, ...one.settings };
      if (flash !== undefined) {
        for (const { device } of devices) {
          deps.flashing?.add({ device, flash, settings }, driven.line);
        }
      }
      this.#lines.push(driven);
    }
  }

  /** Begins to keep the lines open; those that are away are waited for. */
  open(): void {
    this.#stop ??= this.#deps.fence.onRaised(({ message }) => {
      const error = new HoldfastError('GATEWAY_FENCED', message);
      for (const device of this.#devices.values()) device.refuse(error);
    });
    for (const line of this.#lines) line.open();
    this.#deps.flashing?.open();
  }

  /** Resolves when every line is closed and its devices told as gone. Idempotent. */
  async close(): Promise<void> {
    this.#stop?.();
    await this.#deps.flashing?.close();
    await Promise.all(this.#lines.map((line) => line.close()));
    for (const device of this.#devices.values()) device.close();
  }

  /** Takes nothing more of the device, should it be on a line, until its next hello. */
  refuse(device: string, error: HoldfastError): void {
    this.#devices.get(device)?.refuse(error);
  }

  /** `sendOnLine` of the commands. */
  readonly sendCommand = async (
    device: string,
    command: string,
    payload: CommandPayload,
  ): Promise<void> => this.#devices.get(device)?.command(command, payload);

  /** `offerOnLine` of the updates. */
  readonly offer = async (device: string, job: JobExecutionPayload): Promise<void> =>
    this.#devices.get(device)?.offer(job);

  async shadowChanged(change: ShadowChange): Promise<void> {
    // The protocol knows one shadow a device.
    if (change.name === classicShadow) await this.#devices.get(change.device)?.tell(change);
  }
}

const wiredLine = (
  configuration: SerialLineConfiguration,
  siteDriver: SerialDriver | undefined,
): WiredLine => {
  const address = addressOf(configuration);
  if (address === null) {
    throw new HoldfastError('CONFIGURATION_INVALID', 'a serial line has either path or usb');
  }
  return {
    door: 'serial',
    name: lineNameOf(configuration),
    address,
    settings: settingsOf(configuration),
    driver: siteDriver ?? serialDriver(configuration.driver),
    driverOptions: configuration.options,
    devices: devicesOf(configuration),
    ...(configuration.flash && { flash: configuration.flash }),
  };
};
