/** CRC-16/MODBUS, by a table: each answer is checked before modbus-serial sees it. */
const table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 0 ? crc >> 1 : (crc >> 1) ^ 0xa001;
  return crc;
});

export const crc16 = (bytes: Uint8Array): number => {
  let crc = 0xffff;
  for (const byte of bytes) crc = (crc >> 8) ^ (table[(crc ^ byte) & 0xff] ?? 0);
  return crc;
};

/** Over a frame with its two bytes of checksum the rest is nothing. */
export const hasChecksum = (frame: Uint8Array): boolean => crc16(frame) === 0;
