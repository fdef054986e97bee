/**
 * In which order a unit sends the bytes of a number, in the field's words: ABCD is the standard's, CDAB has the words swapped, BADC the
 * bytes in each word, DCBA both. Numbers of one register know only the latter half of it; those of four registers go on likewise.
 */
export const byteOrders = ['ABCD', 'CDAB', 'BADC', 'DCBA'] as const;
export type ByteOrder = (typeof byteOrders)[number];

/** What people also call them. */
export const byteOrderNames: ReadonlyMap<string, ByteOrder> = new Map([
  ['big', 'ABCD'],
  ['word-swapped', 'CDAB'],
  ['byte-swapped', 'BADC'],
  ['little', 'DCBA'],
]);

/** Into the standard's order and back: each order is its own inverse. */
export const reorder = (bytes: Buffer, order: ByteOrder): Buffer => {
  if (order === 'ABCD') return bytes;
  const ordered = Buffer.from(bytes);
  if (order === 'BADC' || order === 'DCBA') ordered.swap16();
  if (order === 'CDAB' || order === 'DCBA') reverseWords(ordered);
  return ordered;
};

const reverseWords = (bytes: Buffer): void => {
  for (let low = 0, high = bytes.length - 2; low < high; low += 2, high -= 2) {
    const word = bytes.readUInt16BE(low);
    bytes.writeUInt16BE(bytes.readUInt16BE(high), low);
    bytes.writeUInt16BE(word, high);
  }
};
