/** A message of STK500v2: start, sequence number, size, token, body, and the XOR of all that. Source: Atmel's application note AVR068. */

export interface Stk500v2Message {
  readonly sequence: number;
  readonly body: Buffer;
}

const start = 0x1b;
const token = 0x0e;
const headerBytes = 5;
/** A page of 256 bytes and what is said around it. */
const maxBodyBytes = 275;

export const encodeMessage = (sequence: number, body: Uint8Array): Buffer => {
  const header = [start, sequence, body.length >> 8, body.length & 0xff, token];
  const bytes = Buffer.from([...header, ...body, 0]);
  bytes[bytes.length - 1] = xorOf(bytes);
  return bytes;
};

/** The first whole message in what was received, past any noise; null while there is none. */
export const decodeMessage = (bytes: Buffer): Stk500v2Message | null => {
  for (let at = bytes.indexOf(start); at !== -1; at = bytes.indexOf(start, at + 1)) {
    if (bytes.length < at + headerBytes || bytes[at + 4] !== token) continue;
    const bodyBytes = bytes.readUInt16BE(at + 2);
    const endAt = at + headerBytes + bodyBytes;
    if (bodyBytes > maxBodyBytes || bytes.length <= endAt) continue;
    if (xorOf(bytes.subarray(at, endAt + 1)) !== 0) continue;
    return { sequence: bytes.readUInt8(at + 1), body: bytes.subarray(at + headerBytes, endAt) };
  }
  return null;
};

const xorOf = (bytes: Uint8Array): number => bytes.reduce((xor, byte) => xor ^ byte, 0);
