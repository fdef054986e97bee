/**
 * Every serial line of the gateway, whoever speaks on it: made here, so that no two have one name or one port, told to the log as they
 * come and go, and found for the status, the monitor and whoever flashes a board.
 */
import { realpath } from 'node:fs/promises';
import {
  type DrivenLine,
  type DrivenLineOptions,
  driveLine,
} from '@holdfast/devices/serial/driven-line';
import { explainPort } from '@holdfast/devices/serial/port/explain-port';
import { type FoundPort, findPort } from '@holdfast/devices/serial/port/find-port';
import type { LineStatus, PortProblem } from '@holdfast/devices/serial/port/line-status';
import { addressText, type PortAddress } from '@holdfast/devices/serial/port/port-settings';
import type { SerialLine, SerialLineDeps } from '@holdfast/devices/serial/port/serial-line';
import type {
  DriverDevice,
  DriverLineCounts,
  SerialDriver,
} from '@holdfast/devices/serial/serial-driver';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import type { LineFlashStatus } from './flash/line-flashing.js';

export interface SerialLinesDeps extends Pick<SerialLineDeps, 'openPort' | 'findPort' | 'explain'> {
  readonly now: () => number;
  readonly log: StoreLog;
  /** How the flashing of a device stands; undefined where the gateway flashes it not. */
  readonly flashOf?: (device: string) => LineFlashStatus | undefined;
}

/** A line as the local API and the log show it. */
export interface SerialLineStatus extends LineStatus {
  /** As `serial.lines` calls it: `json-lines`, `modbus`, … */
  readonly driver: string;
  /** Whether its port is open, were it for somebody else. */
  readonly isUp: boolean;
  readonly devices: readonly LineDeviceStatus[];
}

export interface LineDeviceStatus {
  readonly device: string;
  readonly isOnline: boolean;
  readonly counts: DriverLineCounts;
  readonly flash?: LineFlashStatus;
}

interface Entry extends DrivenLine {
  readonly driver: string;
  readonly ids: readonly string[];
}

export interface LineWish {
  readonly driver: SerialDriver;
  readonly devices: readonly DriverDevice[];
  readonly onState?: (status: LineStatus) => void;
  /** Where its port is, and how it is opened, where that is no serial port of this machine. */
  readonly port?: Pick<SerialLineDeps, 'openPort' | 'findPort' | 'explain'>;
}

export class SerialLines {
  readonly #deps: SerialLinesDeps;
  readonly #lines = new Map<string, Entry>();
  /** Which line has a port, or is about to open it, by the name that the kernel has for it. */
  readonly #claimed = new Map<string, string>();

  constructor(deps: SerialLinesDeps) {
    this.#deps = deps;
  }

  /** A line with its driver; whoever asks for it opens and closes it. CONFIGURATION_INVALID when its name or its address is taken. */
  drive({ driver, devices, onState, port }: LineWish, options: DrivenLineOptions): DrivenLine {
    const { name, address } = options;
    const wanted = addressText(address);
    for (const { line } of this.#lines.values()) {
      const { status } = line;
      if (status.name === name || addressText(status.address) === wanted) {
        throw new HoldfastError(
          'CONFIGURATION_INVALID',
          `serial lines: ${name} or ${wanted} is named twice`,
        );
      }
    }
    const { now, openPort, explain = explainToInstallers } = this.#deps;
    const driven = driveLine(
      {
        driver,
        devices,
        now,
        onState: (status) => this.#changed(status, onState),
        findPort: (asked) => this.#findFree(name, asked),
        ...(openPort && { openPort }),
        explain,
        ...port,
      },
      options,
    );
    this.#lines.set(name, {
      ...driven,
      driver: driver.name,
      ids: devices.map(({ id }) => id),
    });
    return driven;
  }

  /** By its name, or by a device on it. */
  find(name: string): SerialLine | undefined {
    const entry =
      this.#lines.get(name) ?? [...this.#lines.values()].find(({ ids }) => ids.includes(name));
    return entry?.line;
  }

  /** Every line, in the order of the configuration. */
  list(): SerialLineStatus[] {
    return [...this.#lines.values()].map(({ line, driver, ids, devices }) => {
      const { status } = line;
      return {
        ...status,
        driver,
        isUp: status.state.state !== 'down',
        devices: devices.map(({ isOnline, counts }, index) => {
          const device = ids[index] ?? '';
          const flash = this.#deps.flashOf?.(device);
          return { device, isOnline, counts, ...(flash && { flash }) };
        }),
      };
    });
  }

  /** A port is one line's at a time: its lock is found out only after its settings were changed. */
  async #findFree(name: string, address: PortAddress): Promise<FoundPort | PortProblem> {
    this.#release(name);
    const found = await (this.#deps.findPort ?? findPort)(address);
    if ('reason' in found) return found;
    const port = await realpath(found.path).catch(() => found.path);
    const owner = this.#claimed.get(port);
    if (owner !== undefined) {
      return {
        reason: `${found.path} is the port of the line ${owner}`,
        next: 'name another port for one of the two',
      };
    }
    this.#claimed.set(port, name);
    return found;
  }

  #release(name: string): void {
    for (const [port, owner] of this.#claimed) if (owner === name) this.#claimed.delete(port);
  }

  #changed(status: LineStatus, onState: LineWish['onState']): void {
    const { name, path, state } = status;
    const { log } = this.#deps;
    if (state.state === 'down') this.#release(name);
    if (state.state === 'up') log.info({ line: name, path }, 'a serial line is up');
    else if (state.state === 'suspended') {
      log.info({ line: name, path, reason: state.reason }, 'a serial line is used otherwise');
    } else {
      const { reason, next } = state;
      log.warn({ line: name, path, reason, next }, 'a serial line is down');
    }
    onState?.(status);
  }
}

const explainToInstallers: NonNullable<SerialLineDeps['explain']> = (path, error) =>
  explainPort(path, error, { service: 'holdfast-gateway' });
