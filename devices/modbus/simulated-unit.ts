/** A unit without hardware: coils and registers in memory that are read and written as the standard says. For demos and tests. */
import { crc16, hasChecksum } from './rtu-checksum.js';

export interface SimulatedUnitOptions {
  readonly unit: number;
  /** Functions that it does not have. */
  readonly lacks?: readonly number[];
  /** Addresses that it has; all without. */
  readonly has?: (address: number) => boolean;
}

const illegalFunction = 1;
const illegalAddress = 2;
const illegalValue = 3;

export class SimulatedUnit {
  readonly unit: number;
  readonly coils = new Uint8Array(65_536);
  readonly discretes = new Uint8Array(65_536);
  readonly holding = new Uint16Array(65_536);
  readonly input = new Uint16Array(65_536);
  readonly #lacks: ReadonlySet<number>;
  readonly #has: (address: number) => boolean;

  constructor({ unit, lacks = [], has = () => true }: SimulatedUnitOptions) {
    this.unit = unit;
    this.#lacks = new Set(lacks);
    this.#has = has;
  }

  /** Answers an RTU frame; null where it is none, or for another unit. */
  answerRtu(frame: Buffer): Buffer | null {
    if (frame.length < 4 || frame[0] !== this.unit || !hasChecksum(frame)) return null;
    const body = Buffer.concat([Buffer.of(this.unit), this.answer(frame.subarray(1, -2))]);
    const checksum = Buffer.alloc(2);
    checksum.writeUInt16LE(crc16(body));
    return Buffer.concat([body, checksum]);
  }

  /** Answers a function and what it is about. */
  answer(pdu: Buffer): Buffer {
    const code = pdu.readUInt8(0);
    const refuse = (why: number): Buffer => Buffer.of(code | 0x80, why);
    if (this.#lacks.has(code)) return refuse(illegalFunction);
    const address = pdu.readUInt16BE(1);
    const count = code === 5 || code === 6 || code === 22 ? 1 : pdu.readUInt16BE(3);
    if (count < 1 || count > (code <= 2 || code === 15 ? 2_000 : 125)) return refuse(illegalValue);
    for (let at = address; at < address + count; at += 1) {
      if (at > 65_535 || !this.#has(at)) return refuse(illegalAddress);
    }
    switch (code) {
      case 1:
      case 2:
        return this.#readBits(code, code === 1 ? this.coils : this.discretes, address, count);
      case 3:
      case 4:
        return this.#readWords(code, code === 3 ? this.holding : this.input, address, count);
      case 5:
        this.coils[address] = pdu.readUInt16BE(3) === 0xff00 ? 1 : 0;
        return pdu.subarray(0, 5);
      case 6:
        this.holding[address] = pdu.readUInt16BE(3);
        return pdu.subarray(0, 5);
      case 15:
        for (let i = 0; i < count; i += 1) {
          this.coils[address + i] = ((pdu[6 + (i >> 3)] ?? 0) >> (i & 7)) & 1;
        }
        return pdu.subarray(0, 5);
      case 16:
        for (let i = 0; i < count; i += 1) this.holding[address + i] = pdu.readUInt16BE(6 + 2 * i);
        return pdu.subarray(0, 5);
      case 22: {
        const [and, or] = [pdu.readUInt16BE(3), pdu.readUInt16BE(5)];
        this.holding[address] = ((this.holding[address] ?? 0) & and) | (or & ~and);
        return pdu.subarray(0, 7);
      }
      default:
        return refuse(illegalFunction);
    }
  }

  #readBits(code: number, bits: Uint8Array, address: number, count: number): Buffer {
    const bytes = Buffer.alloc(2 + Math.ceil(count / 8));
    bytes[0] = code;
    bytes[1] = bytes.length - 2;
    for (let i = 0; i < count; i += 1) {
      const at = 2 + (i >> 3);
      bytes[at] = (bytes[at] ?? 0) | ((bits[address + i] ?? 0) << (i & 7));
    }
    return bytes;
  }

  #readWords(code: number, words: Uint16Array, address: number, count: number): Buffer {
    const bytes = Buffer.alloc(2 + count * 2);
    bytes[0] = code;
    bytes[1] = count * 2;
    for (let i = 0; i < count; i += 1) bytes.writeUInt16BE(words[address + i] ?? 0, 2 + 2 * i);
    return bytes;
  }
}
