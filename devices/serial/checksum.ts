/**
 * The optional checksum of a line: CRC-16/CCITT-FALSE over its bytes, written behind the JSON as `*` and four hexadecimal digits.
 *
 * It needs no table on the smallest microcontroller. A JSON object ends in `}`, so the suffix cannot be part of it.
 */
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

export const withChecksum = (json: string): string =>
  `${json}*${crc16(Buffer.from(json)).toString(16).toUpperCase().padStart(4, '0')}`;

export type CheckedLine =
  | { readonly ok: true; readonly json: string; readonly hadChecksum: boolean }
  | { readonly ok: false };

/** Takes the suffix off; a line without one is the protocol's to judge, a wrong one is not. */
export const checkLine = (line: string): CheckedLine => {
  const suffix = /\*([0-9A-Fa-f]{4})$/.exec(line);
  if (suffix === null) return { ok: true, json: line, hadChecksum: false };
  const json = line.slice(0, -5);
  return crc16(Buffer.from(json)) === Number.parseInt(suffix[1] ?? '', 16)
    ? { ok: true, json, hadChecksum: true }
    : { ok: false };
};
