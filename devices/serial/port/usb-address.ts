/** How a port is named by what stands in its USB descriptor: `2341:0043`, `2341:0043:85430353531351E0F1A2`, `1a86:7523@1-1.2`. */
import type { UsbDescriptor } from './system-ports.js';

export interface UsbAddress {
  readonly vendor: string;
  readonly product: string;
  /** null: whichever. */
  readonly serial: string | null;
  /** The socket, or one interface in it; null: wherever. */
  readonly socket: string | null;
}

const form = /^([0-9a-f]{4}):([0-9a-f]{4})(?::([^@]+?))?(?:@(\d+-\d+(?:\.\d+)*(?::\d+\.\d+)?))?$/i;

/** null where it is none. */
export const parseUsbAddress = (text: string): UsbAddress | null => {
  const [, vendor, product, serial, socket] = form.exec(text) ?? [];
  if (vendor === undefined || product === undefined) return null;
  return {
    vendor: vendor.toLowerCase(),
    product: product.toLowerCase(),
    serial: serial ?? null,
    socket: socket ?? null,
  };
};

export const isAt = (address: UsbAddress, usb: UsbDescriptor): boolean =>
  address.vendor === usb.vendor &&
  address.product === usb.product &&
  (address.serial === null || address.serial === usb.serial) &&
  (address.socket === null || address.socket === usb.socket || address.socket === usb.interface);

/** The shortest name of a port that no other has: what a line is to be given under `usb`. */
export const usbAddressOf = (usb: UsbDescriptor, others: readonly UsbDescriptor[]): string => {
  const id = `${usb.vendor}:${usb.product}`;
  const serial = usb.serial === null || usb.serial.includes('@') ? null : `${id}:${usb.serial}`;
  const names = [
    ...(serial === null ? [] : [serial]),
    `${id}@${usb.socket}`,
    `${id}@${usb.interface}`,
  ];
  const isAlone = (name: string): boolean => {
    const address = parseUsbAddress(name);
    return address !== null && others.filter((other) => isAt(address, other)).length <= 1;
  };
  return names.find(isAlone) ?? `${id}@${usb.interface}`;
};
