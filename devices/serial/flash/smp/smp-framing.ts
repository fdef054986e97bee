/**
 * SMP packets on a serial line, as MCUboot's serial recovery and Zephyr frame them ("SMP over console"): length, packet and CRC-16/XMODEM in
 * Base64, cut into lines that begin with 06 09, the first, or 04 14, each after it. What a console prints between them is no packet.
 *
 * Source: docs/serial_recovery.md and boot/boot_serial/src/boot_serial.c of mcu-tools/mcuboot.
 */

const firstMark = Buffer.from([0x06, 0x09]);
const nextMark = Buffer.from([0x04, 0x14]);
const newline = 0x0a;

/** 127 bytes a line with its mark and newline. Each is decoded alone, so it holds whole groups of four. */
const mostBase64 = 124;
/** A line that is no frame, the console's, may be longer; more of it than this is not kept. */
const mostLineBytes = 512;
const mostPacketBytes = 65_535;

/** CRC-16/XMODEM: polynomial 0x1021, start 0. Over a packet and its own CRC it is 0. */
export const crcOf = (bytes: Uint8Array): number => {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = (crc & 0x8000) === 0 ? (crc << 1) & 0xffff : ((crc << 1) ^ 0x1021) & 0xffff;
    }
  }
  return crc;
};

/** The lines that carry a packet. */
export const encodePacket = (packet: Uint8Array): Buffer => {
  const framed = Buffer.alloc(packet.length + 4);
  framed.writeUInt16BE(packet.length + 2, 0);
  framed.set(packet, 2);
  framed.writeUInt16BE(crcOf(packet), packet.length + 2);
  const base64 = framed.toString('base64');
  const lines: Buffer[] = [];
  for (let at = 0; at < base64.length; at += mostBase64) {
    lines.push(
      at === 0 ? firstMark : nextMark,
      Buffer.from(`${base64.slice(at, at + mostBase64)}\n`, 'latin1'),
    );
  }
  return Buffer.concat(lines);
};

/** Bytes in, whole packets out. A packet that is cut off, longer than it says or garbled is dropped: its sender is asked again. */
export class PacketDecoder {
  #line: number[] = [];
  #parts: Buffer[] | null = null;
  #partsBytes = 0;
  #garbled = 0;

  /** Packets that came and could not be read. */
  get garbled(): number {
    return this.#garbled;
  }

  push(bytes: Uint8Array): Buffer[] {
    const packets: Buffer[] = [];
    for (const byte of bytes) {
      if (byte !== newline) {
        if (this.#line.length < mostLineBytes) this.#line.push(byte);
        continue;
      }
      const packet = this.#take(Buffer.from(this.#line));
      this.#line = [];
      if (packet !== null) packets.push(packet);
    }
    return packets;
  }

  #take(line: Buffer): Buffer | null {
    const mark = markIn(line);
    if (mark === null) return null;
    const part = decodeBase64(line.subarray(mark.at + 2));
    if (mark.isFirst) {
      this.#parts = [];
      this.#partsBytes = 0;
    }
    if (this.#parts === null || part === null) return this.#drop();
    this.#parts.push(part);
    this.#partsBytes += part.length;
    const [head = part] = this.#parts;
    // Put together once it is all there: what comes in crumbs would be copied for each.
    const missing = head.length < 2 ? -1 : 2 + head.readUInt16BE(0) - this.#partsBytes;
    if (missing > 0) return null;
    const framed = Buffer.concat(this.#parts);
    const body = framed.subarray(2);
    if (missing < 0 || body.length <= 2 || crcOf(body) !== 0) return this.#drop();
    this.#parts = null;
    return body.subarray(0, -2);
  }

  #drop(): null {
    if (this.#parts !== null) this.#garbled += 1;
    this.#parts = null;
    return null;
  }
}

/** Behind a console's prompt a line need not begin with its mark. */
const markIn = (line: Buffer): { readonly at: number; readonly isFirst: boolean } | null => {
  const first = line.lastIndexOf(firstMark);
  const next = line.lastIndexOf(nextMark);
  if (first === -1 && next === -1) return null;
  return first > next ? { at: first, isFirst: true } : { at: next, isFirst: false };
};

const decodeBase64 = (text: Buffer): Buffer | null => {
  const trimmed = text.toString('latin1').trimEnd();
  const isBase64 = trimmed.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(trimmed);
  return isBase64 ? Buffer.from(trimmed, 'base64') : null;
};

/** The longest packet whose frame a receive buffer of so many bytes takes, decoded: with its length and CRC. */
export const packetRoom = (bufferBytes: number): number =>
  Math.min(bufferBytes, mostPacketBytes) - 4;
