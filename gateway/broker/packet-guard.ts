/**
 * Cuts a client's bytes into MQTT packets before the protocol library sees any: sizes, text and order of first packet are checked
 * here, so that nothing malformed, huge or parked reaches it.
 */
import { isUtf8 } from 'node:buffer';

export interface PacketLimits {
  /** Bytes of the first packet, before the client is known. */
  readonly maxConnectBytes: number;
  readonly maxPacketBytes: number;
}

/** Why the peer is cut; for the log. */
export type Malformation =
  | 'CONNECT_EXPECTED'
  | 'LENGTH_MALFORMED'
  | 'PACKET_TOO_LARGE'
  | 'PACKET_TRUNCATED'
  | 'TEXT_MALFORMED'
  | 'PACKET_ID_ZERO';

export type Guarded =
  | { readonly kind: 'packet'; readonly bytes: Buffer; readonly rest: Buffer }
  | { readonly kind: 'incomplete'; readonly needed: number }
  | { readonly kind: 'malformed'; readonly why: Malformation };

const connect = 1;
const publish = 3;
const subscribe = 8;
const unsubscribe = 10;

/** Takes the first packet off `bytes`. `needed` of an incomplete one is how many bytes it will have, as far as is known. */
export const takePacket = (bytes: Buffer, isFirst: boolean, limits: PacketLimits): Guarded => {
  const first = bytes[0];
  if (first === undefined) return { kind: 'incomplete', needed: 2 };
  if (isFirst && first >> 4 !== connect) return malformed('CONNECT_EXPECTED');
  let length = 0;
  let at = 1;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at];
    if (byte === undefined) return { kind: 'incomplete', needed: at + 1 };
    length |= (byte & 127) << shift;
    at += 1;
    if (byte < 128) break;
    if (shift === 21) return malformed('LENGTH_MALFORMED');
  }
  const end = at + length;
  // Said before the bytes are there, so nothing over the limit is ever held.
  if (end > (isFirst ? limits.maxConnectBytes : limits.maxPacketBytes)) {
    return malformed('PACKET_TOO_LARGE');
  }
  if (bytes.length < end) return { kind: 'incomplete', needed: end };
  const why = faultIn(bytes, first, at, end);
  if (why !== undefined) return malformed(why);
  return { kind: 'packet', bytes: bytes.subarray(0, end), rest: bytes.subarray(end) };
};

const faultIn = (
  bytes: Buffer,
  first: number,
  at: number,
  end: number,
): Malformation | undefined => {
  switch (first >> 4) {
    case connect:
      return faultInConnect(new Reader(bytes, at, end));
    case publish: {
      const reader = new Reader(bytes, at, end);
      reader.text();
      if (((first >> 1) & 3) > 0) reader.packetId();
      return reader.fault;
    }
    case subscribe:
    case unsubscribe: {
      const reader = new Reader(bytes, at, end);
      reader.packetId();
      while (reader.hasMore) {
        reader.text();
        if (first >> 4 === subscribe) reader.skip(1);
      }
      return reader.fault;
    }
    default:
      return undefined;
  }
};

const faultInConnect = (reader: Reader): Malformation | undefined => {
  reader.text();
  const version = reader.byte();
  const flags = reader.byte();
  reader.skip(2);
  // Version 5 has properties here; the protocol library answers it with "unacceptable protocol version".
  if ((version & 127) === 5) return reader.fault;
  reader.text();
  if (flags & 4) {
    reader.text();
    reader.binary();
  }
  if (flags & 128) reader.text();
  if (flags & 64) reader.binary();
  return reader.fault;
};

/** Walks the fields of one packet; the first fault stays. */
class Reader {
  fault: Malformation | undefined;
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get hasMore(): boolean {
    return this.fault === undefined && this.#at < this.#end;
  }

  byte(): number {
    return this.#take(1) ? (this.#bytes[this.#at - 1] ?? 0) : 0;
  }

  skip(count: number): void {
    this.#take(count);
  }

  packetId(): void {
    if (this.#number() === 0) this.fault ??= 'PACKET_ID_ZERO';
  }

  binary(): void {
    this.#take(this.#number());
  }

  /** UTF-8 without NUL: 3.1.1, 1.5.3. `isUtf8` also refuses overlong forms and surrogates. */
  text(): void {
    const length = this.#number();
    if (!this.#take(length) || length === 0) return;
    const text = this.#bytes.subarray(this.#at - length, this.#at);
    if (text.includes(0) || !isUtf8(text)) this.fault ??= 'TEXT_MALFORMED';
  }

  #number(): number {
    if (!this.#take(2)) return 0;
    return ((this.#bytes[this.#at - 2] ?? 0) << 8) | (this.#bytes[this.#at - 1] ?? 0);
  }

  #take(count: number): boolean {
    if (this.fault !== undefined) return false;
    if (this.#at + count > this.#end) {
      this.fault = 'PACKET_TRUNCATED';
      return false;
    }
    this.#at += count;
    return true;
  }
}

const malformed = (why: Malformation): Guarded => ({ kind: 'malformed', why });
