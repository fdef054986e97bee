/** Where a line's address leads at the moment, or why it leads nowhere and what is to be done about it. */
import { stat } from 'node:fs/promises';
import type { PortProblem } from './line-status.js';
import type { PortAddress } from './port-settings.js';
import { listSystemPorts, type SystemPort, type SystemPortRoots } from './system-ports.js';
import { isAt, parseUsbAddress, usbAddressOf } from './usb-address.js';

export interface FoundPort {
  readonly path: string;
}

export const findPort = async (
  address: PortAddress,
  roots: SystemPortRoots = {},
): Promise<FoundPort | PortProblem> =>
  'path' in address ? findByPath(address.path, roots) : findByUsb(address.usb, roots);

const findByPath = async (
  path: string,
  roots: SystemPortRoots,
): Promise<FoundPort | PortProblem> => {
  const there = await stat(path).catch(() => null);
  if (there === null) {
    const next = `plug it in, or name another: ${portsText(await listSystemPorts(roots))}`;
    return { reason: `${path} is not there`, next };
  }
  if (there.isCharacterDevice()) return { path };
  return { reason: `${path} is no serial port`, next: 'name a device such as /dev/ttyUSB0' };
};

const findByUsb = async (usb: string, roots: SystemPortRoots): Promise<FoundPort | PortProblem> => {
  const address = parseUsbAddress(usb);
  if (address === null) return { reason: `"${usb}" is no USB id`, next: 'name it as 2341:0043' };
  const ports = await listSystemPorts(roots);
  const found = ports.filter((port) => port.usb !== null && isAt(address, port.usb));
  const [first] = found;
  if (first === undefined) {
    const next = `plug it in, or name another: ${portsText(ports)}`;
    return { reason: `no port has the USB id ${usb}`, next };
  }
  if (found.length === 1) return { path: first.path };
  const names = found.map((port) => `${nameOf(port, ports)} (${port.path})`);
  return {
    reason: `${String(found.length)} ports have the USB id ${usb}, and nothing in it tells them apart`,
    next: `name the one that is meant: ${names.join(', ')}`,
  };
};

const portsText = (ports: readonly SystemPort[]): string =>
  ports.length === 0
    ? 'there is no serial port at all'
    : `there are ${ports.map((port) => nameOf(port, ports)).join(', ')}`;

/** As a configuration should name a port. */
export const nameOf = ({ usb, path }: SystemPort, ports: readonly SystemPort[]): string =>
  usb === null
    ? path
    : `usb ${usbAddressOf(
        usb,
        ports.flatMap((port) => port.usb ?? []),
      )}`;
