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

/** How long so many bytes take on the wire. */
export const wireMs = (
  bytes: number,
  { baudRate, dataBits, parity, stopBits }: PortSettings,
): number => (bytes * (1 + dataBits + (parity === 'none' ? 0 : 1) + stopBits) * 1_000) / baudRate;
