/**
 * The serial ports of this machine, as the kernel tells them: sysfs alone, so that neither udev nor its programs are needed.
 *
 * A name under /dev is drawn anew at each plugging in; what stands in the USB descriptor is not, and neither is the socket.
 */
import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

export interface SystemPort {
  /** As `/dev/ttyUSB0`. */
  readonly path: string;
  /** The kernel's driver, as `cp210x`; empty where it tells none. */
  readonly driver: string;
  readonly usb: UsbDescriptor | null;
}

export interface UsbDescriptor {
  /** Four hexadecimal digits each. */
  readonly vendor: string;
  readonly product: string;
  readonly serial: string | null;
  /** In the words of its maker: `Silicon Labs CP2102N`. */
  readonly title: string;
  /** The socket: `1-1.2`. It stays the same as long as the cable stays where it is. */
  readonly socket: string;
  /** One adapter may have several ports: `1-1.2:1.0`. */
  readonly interface: string;
}

export interface SystemPortRoots {
  readonly sysfs?: string;
  readonly dev?: string;
}

/** In the order of their names. */
export const listSystemPorts = async ({
  sysfs = '/sys',
  dev = '/dev',
}: SystemPortRoots = {}): Promise<SystemPort[]> => {
  const folder = join(sysfs, 'class/tty');
  const names = await readdir(folder).catch(() => []);
  const ports = await Promise.all(
    names.map(async (name): Promise<SystemPort[]> => {
      // What has no device is a console or a terminal.
      const device = await realpath(join(folder, name, 'device')).catch(() => null);
      if (device === null || (await isPlaceholder(join(folder, name)))) return [];
      const driver = await readlink(join(device, 'driver')).catch(() => '');
      const usb = await usbOf(device, await realpath(sysfs));
      return [{ path: join(dev, name), driver: basename(driver), usb }];
    }),
  );
  return ports.flat().sort((a, b) => a.path.localeCompare(b.path, 'en', { numeric: true }));
};

/** The kernel keeps names for 8250 chips that a PC might have; one without a chip is of type 0. */
const isPlaceholder = async (folder: string): Promise<boolean> =>
  (await attribute(folder, 'type')) === '0' && basename(folder).startsWith('ttyS');

/** What stands above a port: its interface, then its device. */
const usbOf = async (device: string, root: string): Promise<UsbDescriptor | null> => {
  let interfaceName = '';
  for (let at = device; at.startsWith(root) && at !== root; at = dirname(at)) {
    if ((await attribute(at, 'bInterfaceNumber')) !== null) interfaceName = basename(at);
    const vendor = await attribute(at, 'idVendor');
    const product = await attribute(at, 'idProduct');
    if (vendor === null || product === null) continue;
    const words = [await attribute(at, 'manufacturer'), await attribute(at, 'product')];
    return {
      vendor: vendor.toLowerCase(),
      product: product.toLowerCase(),
      serial: await attribute(at, 'serial'),
      title: words.filter((word) => word !== null).join(' '),
      socket: basename(at),
      interface: interfaceName,
    };
  }
  return null;
};

const attribute = async (folder: string, name: string): Promise<string | null> => {
  const text = await readFile(join(folder, name), 'utf8').catch(() => null);
  // A descriptor is whatever its maker wrote into it.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is taken out
  return text === null ? null : text.replaceAll(/[\x00-\x1f\x7f]+/g, ' ').trim();
};
