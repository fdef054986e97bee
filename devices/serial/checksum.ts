/**
 * The optional checksum of a line, over its bytes and written behind the JSON: `*` and four hexadecimal digits are CRC-16/CCITT-FALSE,
 * `*` and eight are CRC-32/ISO-HDLC (the one of Ethernet and zip).
 *
 * Neither needs a table on the smallest microcontroller. A JSON object ends in `}`, so the suffix cannot be part of it.
 */

/** As a `hello` says it: none, CRC-16, CRC-32. */
export type Checksum = boolean | 32;

export const crc16 = (bytes: Uint8Array): number => {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = (crc & 0x8000) === 0 ? (crc << 1) & 0xffff : ((crc << 1) ^ 0x1021) & 0xffff;
    }
  }
  return crc;
};

export const crc32 = (bytes: Uint8Array): number => {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (crc32Table[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
};

export const withChecksum = (json: string, checksum: true | 32 = true): string => {
  const bytes = Buffer.from(json);
  return checksum === 32
    ? `${json}*${hexadecimal(crc32(bytes), 8)}`
    : `${json}*${hexadecimal(crc16(bytes), 4)}`;
};

export type CheckedLine =
  | { readonly ok: true; readonly json: string; readonly checksum: Checksum }
  | { readonly ok: false };

/** Takes the suffix off; a line without one is the protocol's to judge, a wrong one is not. */
export const checkLine = (line: string): CheckedLine => {
  const suffix = /\*([0-9A-Fa-f]{4}|[0-9A-Fa-f]{8})$/.exec(line)?.[1];
  if (suffix === undefined) return { ok: true, json: line, checksum: false };
  const json = line.slice(0, -1 - suffix.length);
  const bytes = Buffer.from(json);
  const isLong = suffix.length === 8;
  return (isLong ? crc32(bytes) : crc16(bytes)) === Number.parseInt(suffix, 16)
    ? { ok: true, json, checksum: isLong ? 32 : true }
    : { ok: false };
};

/** Whether a line is as well protected as was promised; better is as good. */
export const isAsPromised = (checksum: Checksum, promised: Checksum): boolean =>
  bitsOf(checksum) >= bitsOf(promised);

const bitsOf = (checksum: Checksum): number => (checksum === true ? 16 : Number(checksum));

const hexadecimal = (value: number, digits: number): string =>
  value.toString(16).toUpperCase().padStart(digits, '0');

const crc32Table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0xedb88320;
  return crc;
});
