/** The drivers of serial lines, by the names that a configuration knows them by. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { modbus } from '../modbus/modbus-driver.js';
import { jsonLines } from './json-lines/json-lines.js';
import type { SerialDriver } from './serial-driver.js';

const drivers: readonly SerialDriver[] = [jsonLines, modbus];

export const serialDriverNames: readonly string[] = drivers.map(({ name }) => name);

/** What a line is spoken to with that names no driver. */
export const defaultSerialDriver = jsonLines.name;

/** Errors: CONFIGURATION_INVALID for a name that no driver has. */
export const serialDriver = (name: string): SerialDriver => {
  const driver = drivers.find((known) => known.name === name);
  if (driver !== undefined) return driver;
  throw new HoldfastError(
    'CONFIGURATION_INVALID',
    `there is no driver "${name}" for serial lines: there are ${serialDriverNames.join(', ')}`,
  );
};
