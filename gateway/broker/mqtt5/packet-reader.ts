/** Walks the fields of one MQTT 5 packet; the first fault stays, and what is read after it is empty. */
import { isText } from '../packet-guard.js';
import { type Reason, reason } from './reason.js';

const nothing = Buffer.alloc(0);

export class PacketReader {
  readonly bytes: Buffer;
  at: number;
  fault: Reason | undefined;
  readonly #end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.#end = end;
  }

  get hasMore(): boolean {
    return this.fault === undefined && this.at < this.#end;
  }

  fail(why: Reason): void {
    this.fault ??= why;
  }

  byte(): number {
    return this.#take(1) ? (this.bytes[this.at - 1] ?? 0) : 0;
  }

  uint16(): number {
    return this.#take(2) ? this.bytes.readUInt16BE(this.at - 2) : 0;
  }

  uint32(): number {
    return this.#take(4) ? this.bytes.readUInt32BE(this.at - 4) : 0;
  }

  /** A variable byte integer (1.5.5), in as few bytes as it takes. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.byte();
      value |= (byte & 127) << shift;
      if (byte < 128) {
        if (byte === 0 && shift > 0) this.fail(reason.malformedPacket);
        return value;
      }
    }
    this.fail(reason.malformedPacket);
    return 0;
  }

  packetId(): number {
    const id = this.uint16();
    if (id === 0) this.fail(reason.protocolError);
    return id;
  }

  text(): string {
    const length = this.uint16();
    if (!this.#take(length)) return '';
    const from = this.at - length;
    if (isText(this.bytes, from, this.at)) return this.bytes.toString('utf8', from, this.at);
    this.fail(reason.malformedPacket);
    return '';
  }

  binary(): Buffer {
    const length = this.uint16();
    return this.#take(length) ? this.bytes.subarray(this.at - length, this.at) : nothing;
  }

  /** All that is left. */
  rest(): Buffer {
    const from = this.at;
    if (this.fault !== undefined) return nothing;
    this.at = this.#end;
    return this.bytes.subarray(from, this.#end);
  }

  /** A reader of the next `length` bytes, which this one is then behind. */
  within(length: number): PacketReader {
    const from = this.at;
    const isThere = this.#take(length);
    const reader = new PacketReader(this.bytes, from, isThere ? this.at : from);
    if (this.fault !== undefined) reader.fail(this.fault);
    return reader;
  }

  #take(count: number): boolean {
    if (this.fault !== undefined) return false;
    if (this.at + count > this.#end) {
      this.fault = reason.malformedPacket;
      return false;
    }
    this.at += count;
    return true;
  }
}
