/**
 * Intel HEX, read strictly: a file that was damaged, cut or put together twice is refused with the line where that shows.
 * Source: Intel's "Hexadecimal Object File Format Specification", revision A, 1988.
 *
 * Errors: FLASH_IMAGE_INVALID and FLASH_IMAGE_TOO_LARGE, both with `line` in their data.
 */
import type { ErrorCode } from '@holdfast/protos/errors/codes';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

export interface IntelHexOptions {
  /** The first address that is out of reach. */
  readonly limitBytes: number;
}

/** What the file says, from address 0 to its last byte; what it leaves out reads as erased flash (0xFF). */
export const bytesOfIntelHex = (file: Uint8Array, { limitBytes }: IntelHexOptions): Buffer => {
  const memory = Buffer.alloc(limitBytes, 0xff);
  const written = new Uint8Array(limitBytes);
  const lines = Buffer.from(file).toString('latin1').trimEnd().split(/\r?\n/);
  let base = 0;
  let end = 0;
  for (const [index, text] of lines.entries()) {
    const refuse = (why: string, code: ErrorCode = 'FLASH_IMAGE_INVALID') =>
      new HoldfastError(code, `Line ${index + 1} of the Intel HEX file ${why}`, {
        data: { line: index + 1 },
      });
    const record = recordOf(text);
    if (typeof record === 'string') throw refuse(record);
    const { type, offset, data } = record;
    if (type === recordType.end) {
      if (index !== lines.length - 1) throw refuse('ends it, and more follows');
      return memory.subarray(0, end);
    }
    if (type === recordType.segment) base = data.readUInt16BE() * 16;
    else if (type === recordType.linear) base = data.readUInt16BE() * 65_536;
    else if (type === recordType.data) {
      if (offset + data.length > 65_536) throw refuse('runs over the end of its 64 KB segment');
      const address = base + offset;
      if (address + data.length > limitBytes) {
        const reach = `reaches address ${hex(address + data.length - 1)}`;
        const last = hex(limitBytes - 1);
        throw refuse(`${reach}; the last one is ${last}`, 'FLASH_IMAGE_TOO_LARGE');
      }
      const twice = written.subarray(address, address + data.length).indexOf(1);
      if (twice !== -1) throw refuse(`says address ${hex(address + twice)} a second time`);
      data.copy(memory, address);
      written.fill(1, address, address + data.length);
      end = Math.max(end, address + data.length);
    }
  }
  const message = `The Intel HEX file has no end record after line ${lines.length}; it was cut`;
  throw new HoldfastError('FLASH_IMAGE_INVALID', message, { data: { line: lines.length } });
};

interface HexRecord {
  readonly type: number;
  readonly offset: number;
  readonly data: Buffer;
}

/** One line, or what is wrong with it. */
const recordOf = (text: string): HexRecord | string => {
  if (!text.startsWith(':')) return 'does not begin with a colon';
  if (!/^:(?:[0-9A-Fa-f]{2}){5,260}$/.test(text)) {
    return 'is not made of pairs of hexadecimal digits';
  }
  const bytes = Buffer.from(text.slice(1), 'hex');
  const dataBytes = bytes.readUInt8(0);
  if (bytes.length !== dataBytes + 5) {
    return `says it holds ${dataBytes} bytes, and holds ${bytes.length - 5}`;
  }
  if (bytes.reduce((sum, byte) => sum + byte, 0) % 256 !== 0) return 'has a wrong checksum';
  const type = bytes.readUInt8(3);
  const expected = fixedBytes[type];
  if (expected === undefined) return `has the unknown record type ${type}`;
  if (expected !== null && expected !== dataBytes) {
    return `is of record type ${type} and must hold ${expected} bytes`;
  }
  return { type, offset: bytes.readUInt16BE(1), data: bytes.subarray(4, -1) };
};

const recordType = { data: 0, end: 1, segment: 2, linear: 4 } as const;
/** How many bytes a record of a type holds; null: as many as it says. The start addresses (3 and 5) mean nothing to a microcontroller. */
const fixedBytes: Readonly<Record<number, number | null>> = {
  0: null,
  1: 0,
  2: 2,
  3: 4,
  4: 2,
  5: 4,
};
const hex = (address: number): string => `0x${address.toString(16)}`;
