/** The gateway's own lines as its configuration has them. */
import { checkLines, ioLinesOf } from '@holdfast/devices/gpio/line-settings';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import type { GatewayGpioLine } from './gpio-configuration.js';
import { GpioDoor, type GpioDoorDeps } from './gpio-door.js';

export interface OpenGpioDoorOptions {
  readonly device?: string | undefined;
  readonly lines: readonly GatewayGpioLine[];
  readonly version: string;
  readonly lookEveryMs?: number;
}

/** Opens nothing yet; undefined where the gateway has no lines that are a device. CONFIGURATION_INVALID for lines that cannot stand together. */
export const openGpioDoor = (
  deps: GpioDoorDeps,
  { device, lines, ...options }: OpenGpioDoorOptions,
): GpioDoor | undefined => {
  checkOwnLines({ device, lines });
  const own = ioLinesOf(lines);
  if (own.length === 0 || device === undefined) return undefined;
  return new GpioDoor(deps, { device, lines: own, ...options });
};

/** CONFIGURATION_INVALID, as `openGpioDoor`. */
export const checkOwnLines = ({
  device,
  lines,
}: Pick<OpenGpioDoorOptions, 'device' | 'lines'>): void => {
  checkLines(lines);
  for (const { name, role, restarts } of lines) {
    if (restarts !== undefined && role !== 'restart-button') {
      throw invalid(`gpio.lines: ${name}: restarts is nothing for the role ${role}`);
    }
  }
  if (ioLinesOf(lines).length > 0 && (device === undefined || !isDeviceId(device))) {
    throw invalid(
      'gpio.device: say which device the relays, inputs and counters of this machine are (1 to 64 of [A-Za-z0-9_-])',
    );
  }
};

const invalid = (message: string) => new HoldfastError('CONFIGURATION_INVALID', message);
