/**
 * How requests and answers stand on the wire: RTU (a checksum behind) or TCP (a header before). What is not the answer to the request that
 * is out is never handed on: not another unit's, nor another function's or length's, nor garbage, wherever in the stream it stands.
 */
import type { ExpectedReply } from './expected-reply.js';
import { replyAt, replyLength } from './expected-reply.js';
import { crc16, hasChecksum } from './rtu-checksum.js';

export interface Framing {
  /** What travels, of a request with its RTU checksum; a request before it is over. */
  request(adu: Buffer): Buffer;
  /** Looks for the answer in what came so far. */
  find(bytes: Buffer, expected: ExpectedReply): Found;
}

export interface Found {
  /** With its RTU checksum. */
  readonly reply: Buffer | null;
  /** What may yet become an answer. */
  readonly rest: Buffer;
  /** Whole answers to something else that were in the way. */
  readonly strays: number;
}

/** The longest frame, and as much again: an answer behind one that is none. */
const mostBytes = 520;

export const rtuFraming: Framing = {
  request: (adu) => adu,
  find: (bytes, expected) => {
    let from = 0;
    let strays = 0;
    for (let at = 0; at + 5 <= bytes.length; ) {
      const length = replyAt(bytes, at, expected);
      if (length > 0 && isWhole(bytes, at, length)) {
        const end = at + length + 2;
        return { reply: bytes.subarray(at, end), rest: bytes.subarray(end), strays };
      }
      const other = replyLength(bytes[at + 1] ?? 0, bytes[at + 2] ?? 0);
      if (length === 0 && other > 0 && isWhole(bytes, at, other)) {
        // Passed over whole: what stands in it could look like the answer.
        at += other + 2;
        from = at;
        strays += 1;
      } else at += 1;
    }
    return { reply: null, rest: bytes.subarray(Math.max(from, bytes.length - mostBytes)), strays };
  },
};

const isWhole = (bytes: Buffer, at: number, length: number): boolean =>
  at + length + 2 <= bytes.length && hasChecksum(bytes.subarray(at, at + length + 2));

const headerBytes = 6;

/** Modbus TCP: each request has a number, so an answer that comes late is known for what it is. */
export class TcpFraming implements Framing {
  #transaction: number;

  /** `first` should be another one for each connection. */
  constructor(first: number) {
    this.#transaction = first & 0xffff;
  }

  request(adu: Buffer): Buffer {
    this.#transaction = (this.#transaction + 1) & 0xffff;
    const body = adu.subarray(0, -2);
    const frame = Buffer.alloc(headerBytes + body.length);
    frame.writeUInt16BE(this.#transaction, 0);
    frame.writeUInt16BE(body.length, 4);
    body.copy(frame, headerBytes);
    return frame;
  }

  find(bytes: Buffer, expected: ExpectedReply): Found {
    let from = 0;
    let strays = 0;
    for (let at = 0; at + headerBytes + 3 <= bytes.length; ) {
      const length = bodyLength(bytes, at);
      if (length === 0) {
        // A stream has no gaps to find the next header by; a byte further, then.
        at += 1;
        continue;
      }
      const end = at + headerBytes + length;
      const isOurs =
        bytes.readUInt16BE(at) === this.#transaction &&
        replyAt(bytes, at + headerBytes, expected) === length;
      if (end > bytes.length) {
        if (isOurs) break;
        at += 1;
        continue;
      }
      if (isOurs) {
        const reply = withChecksum(bytes.subarray(at + headerBytes, end));
        return { reply, rest: bytes.subarray(end), strays };
      }
      at = end;
      from = end;
      strays += 1;
    }
    return { reply: null, rest: bytes.subarray(Math.max(from, bytes.length - mostBytes)), strays };
  }
}

/** Of a header that stands at this place, what follows it; 0 where it is none. */
const bodyLength = (bytes: Buffer, at: number): number => {
  if (bytes.readUInt16BE(at + 2) !== 0) return 0;
  const length = bytes.readUInt16BE(at + 4);
  return length >= 3 && length <= 254 ? length : 0;
};

const withChecksum = (body: Buffer): Buffer => {
  const frame = Buffer.alloc(body.length + 2);
  body.copy(frame);
  frame.writeUInt16LE(crc16(body), body.length);
  return frame;
};
