/**
 * Devices on serial lines as devices of the site like any other. Each line stands for itself: its garbage, its floods and its absence
 * are nobody else's.
 */
import type { DrivenLine } from '@holdfast/devices/serial/driven-line';
import { addressText } from '@holdfast/devices/serial/port/port-settings';
import { serialDriver } from '@holdfast/devices/serial/serial-drivers';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { CommandPayload } from '@holdfast/protos/mqtt/command-payload';
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowChange } from '../../shadows/shadow-change.js';
import type { ShadowListener } from '../../shadows/shadow-effects.js';
import { DeviceLine, type DeviceLineDeps } from './device-line.js';
import {
  addressOf,
  devicesOf,
  lineNameOf,
  type SerialLineConfiguration,
  settingsOf,
} from './serial-configuration.js';
import type { SerialLines } from './serial-lines.js';

export interface SerialDoorDeps extends DeviceLineDeps {
  readonly lines: SerialLines;
  readonly fence: DeviceLineDeps['fence'] & {
    onRaised(listener: (reason: { readonly message: string }) => void): () => void;
  };
}

export interface SerialDoorOptions {
  readonly lines: readonly SerialLineConfiguration[];
  readonly retryDelayMs?: (attempt: number) => number;
  readonly resendAfterMs?: number;
}

export class SerialDoor implements ShadowListener {
  readonly #deps: SerialDoorDeps;
  readonly #lines: DrivenLine[] = [];
  readonly #devices = new Map<string, DeviceLine>();
  #stop: (() => void) | undefined;

  /** CONFIGURATION_INVALID when a device, a port or a line is named twice, or a driver can't serve its line. */
  constructor(deps: SerialDoorDeps, { lines, retryDelayMs, resendAfterMs }: SerialDoorOptions) {
    this.#deps = deps;
    for (const configuration of lines) {
      const address = addressOf(configuration);
      if (address === null) {
        throw new HoldfastError('CONFIGURATION_INVALID', 'a serial line has either path or usb');
      }
      const port = addressText(address);
      const devices = devicesOf(configuration).map(({ device, settings }) => {
        const line = new DeviceLine(deps, {
          ...{ device, port, door: 'serial' },
          ...(resendAfterMs !== undefined && { resendAfterMs }),
        });
        if (this.#devices.has(device)) {
          throw new HoldfastError(
            'CONFIGURATION_INVALID',
            `serial.lines: ${device} is named twice`,
          );
        }
        this.#devices.set(device, line);
        return { line, served: { id: device, handlers: line.handlers, settings } };
      });
      const driven = deps.lines.drive(
        {
          driver: serialDriver(configuration.driver),
          devices: devices.map(({ served }) => served),
        },
        {
          ...{ name: lineNameOf(configuration), address, settings: settingsOf(configuration) },
          driverOptions: configuration.options,
          ...(retryDelayMs && { retryDelayMs }),
        },
      );
      for (const [index, { line }] of devices.entries()) {
        const serial = driven.devices[index];
        if (serial !== undefined) line.attach(serial);
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
  }

  /** Resolves when every line is closed and its devices told as gone. Idempotent. */
  async close(): Promise<void> {
    this.#stop?.();
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
