/** A serial line with the driver that speaks on it: opened together, and closed in the order that lets the driver tell its end. */

import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import * as v from 'valibot';
import { SerialLine, type SerialLineDeps, type SerialLineOptions } from './port/serial-line.js';
import type { DriverDevice, DriverLine, SerialDriver } from './serial-driver.js';

export interface DrivenLineOptions extends SerialLineOptions {
  /** What the configuration says under `options`, for the driver to parse. */
  readonly driverOptions?: unknown;
}

export interface DrivenLine {
  readonly line: SerialLine;
  /** One for each device, in their order. */
  readonly devices: readonly DriverLine[];
  /** Begins to keep the line open; one that is away is waited for. Idempotent. */
  open(): void;
  /** Resolves when the line is closed and its devices told as gone. Idempotent. */
  close(): Promise<void>;
}

/** Opens nothing yet. CONFIGURATION_INVALID for options or devices that the driver can't use. */
export const driveLine = (
  {
    driver,
    devices,
    ...deps
  }: SerialLineDeps & {
    readonly driver: SerialDriver;
    readonly devices: readonly DriverDevice[];
  },
  { driverOptions, ...options }: DrivenLineOptions,
): DrivenLine => {
  const line = new SerialLine(deps, options);
  const given = v.safeParse(driver.options, driverOptions);
  if (!given.success) {
    const [issue] = given.issues;
    const where = v.getDotPath(issue);
    throw new HoldfastError(
      'CONFIGURATION_INVALID',
      `line ${options.name}: options${where === null ? '' : `.${where}`} of ${driver.name}: ${issue.message}`,
    );
  }
  const lines = driver.attach(line, devices, given.output);
  return {
    line,
    devices: lines,
    open: () => line.open(),
    close: async () => {
      await line.close();
      await Promise.all(lines.map((each) => each.close()));
    },
  };
};
