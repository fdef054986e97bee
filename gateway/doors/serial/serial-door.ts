/**
 * Devices on serial lines as devices of the site like any other. Each line stands for itself: its garbage, its floods and its absence
 * are nobody else's.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { CommandPayload } from '@holdfast/protos/mqtt/command-payload';
import type { JobExecutionPayload } from '@holdfast/protos/mqtt/job-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowChange } from '../../shadows/shadow-change.js';
import type { ShadowListener } from '../../shadows/shadow-effects.js';
import {
  DeviceLine,
  type DeviceLineDeps,
  type DeviceLineOptions,
  type SerialLineConfiguration,
  type SerialLineStatus,
} from './device-line.js';

export interface SerialDoorDeps extends DeviceLineDeps {
  readonly fence: DeviceLineDeps['fence'] & {
    onRaised(listener: (reason: { readonly message: string }) => void): () => void;
  };
}

export interface SerialDoorOptions extends Omit<DeviceLineOptions, keyof SerialLineConfiguration> {
  readonly lines: readonly SerialLineConfiguration[];
}

export class SerialDoor implements ShadowListener {
  readonly #deps: SerialDoorDeps;
  readonly #lines = new Map<string, DeviceLine>();
  #stop: (() => void) | undefined;

  /** CONFIGURATION_INVALID when two lines have one device, or two devices one line. */
  constructor(deps: SerialDoorDeps, { lines, ...options }: SerialDoorOptions) {
    this.#deps = deps;
    const paths = new Set<string>();
    for (const line of lines) {
      if (this.#lines.has(line.device) || paths.has(line.path)) {
        throw new HoldfastError(
          'CONFIGURATION_INVALID',
          `serial.lines: ${line.device} or ${line.path} is named twice`,
        );
      }
      paths.add(line.path);
      this.#lines.set(line.device, new DeviceLine(deps, { ...options, ...line }));
    }
  }

  /** Begins to keep the lines open; those that are away are waited for. */
  open(): void {
    this.#stop ??= this.#deps.fence.onRaised(({ message }) => {
      const error = new HoldfastError('GATEWAY_FENCED', message);
      for (const line of this.#lines.values()) line.refuse(error);
    });
    for (const line of this.#lines.values()) line.open();
  }

  /** Resolves when every line is closed and its device told as gone. Idempotent. */
  async close(): Promise<void> {
    this.#stop?.();
    await Promise.all([...this.#lines.values()].map((line) => line.close()));
  }

  /** Takes nothing more of the device, should it be on a line, until its next hello. */
  refuse(device: string, error: HoldfastError): void {
    this.#lines.get(device)?.refuse(error);
  }

  /** Every line, as the local API shows it. */
  lines(): SerialLineStatus[] {
    return [...this.#lines.values()].map(({ status }) => status);
  }

  /** `sendOnLine` of the commands. */
  readonly sendCommand = async (
    device: string,
    command: string,
    payload: CommandPayload,
  ): Promise<void> => this.#lines.get(device)?.command(command, payload);

  /** `offerOnLine` of the updates. */
  readonly offer = async (device: string, job: JobExecutionPayload): Promise<void> =>
    this.#lines.get(device)?.offer(job);

  async shadowChanged(change: ShadowChange): Promise<void> {
    // The protocol knows one shadow a device.
    if (change.name === classicShadow) await this.#lines.get(change.device)?.tell(change);
  }
}
