/** How a serial port is set, and how it is named: by its path, or by what stands in its USB descriptor. */
export interface PortSettings {
  readonly baudRate: number;
  readonly dataBits: 7 | 8;
  readonly parity: 'none' | 'even' | 'odd';
  readonly stopBits: 1 | 2;
}

/** `usb` as `2341:0043` (vendor and product), with `:SERIAL` and with `@1-1.2` (the socket) where that is not enough. */
export type PortAddress = { readonly path: string } | { readonly usb: string };

export const usualSettings: PortSettings = {
  baudRate: 115_200,
  dataBits: 8,
  parity: 'none',
  stopBits: 1,
};

/** As people write it: the path, or `usb 2341:0043`. */
export const addressText = (address: PortAddress): string =>
  'path' in address ? address.path : `usb ${address.usb}`;
