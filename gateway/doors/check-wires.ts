/**
 * What a configuration says of wires and what cannot stand together, found without opening anything: so a plan of a site file says it, and
 * not the gateway that began with it and goes back.
 */
import { ioLinesOf } from '@holdfast/devices/gpio/line-settings';
import { resetLineNamed } from '@holdfast/devices/gpio/reset-line';
import { addressText } from '@holdfast/devices/serial/port/port-settings';
import {
  isDriverFile,
  type SiteDriverOptions,
  seekSiteDriver,
} from '@holdfast/devices/serial/site-driver';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { GatewayConfiguration } from '../configuration.js';
import { checkOwnLines } from './gpio/open-gpio-door.js';
import { modbusLines } from './modbus/modbus-lines.js';
import { devicesOf, namedLines } from './serial/serial-configuration.js';

/** CONFIGURATION_INVALID: a device, a port, a line or a map is named twice, or one is named that is not there. */
export const checkWires = ({
  serial,
  modbus,
  gpio,
}: Pick<GatewayConfiguration, 'gpio' | 'modbus' | 'serial'>): void => {
  checkOwnLines(gpio);
  const { wired } = modbusLines(modbus);
  const lines = [...namedLines(serial.lines), ...wired];
  once('the device', [
    ...serial.lines.flatMap(devicesOf).map(({ device }) => device),
    ...wired.flatMap(({ devices }) => devices).map(({ device }) => device),
    ...(gpio.device === undefined || ioLinesOf(gpio.lines).length === 0 ? [] : [gpio.device]),
  ]);
  const names = lines.map(({ name }) => name);
  once('the line', names);
  const ports = lines.map(({ address }) => addressText(address));
  once('the port', ports);
  for (const { flash } of serial.lines) {
    if (flash?.reset === 'gpio') resetLineNamed(gpio.lines, flash.resetLine ?? '');
  }
};

/** CONFIGURATION_INVALID where the file of a site's own driver is not where the gateway looks for it: nothing else brings it there. */
export const checkDriverFiles = async (
  { serial }: Pick<GatewayConfiguration, 'serial'>,
  { folder }: SiteDriverOptions,
): Promise<void> => {
  const files = serial.lines.map(({ driver }) => driver).filter(isDriverFile);
  for (const file of files) await seekSiteDriver(file, { folder });
};

const once = (what: string, names: readonly string[]): void => {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw wrong(`${what} ${twice} is named twice in serial, modbus or gpio`);
};

const wrong = (message: string) => new HoldfastError('CONFIGURATION_INVALID', message);
