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
  | { readonly kind: 'packet'; readonly end: number }
  | { readonly kind: 'incomplete'; readonly needed: number }
  | { readonly kind: 'malformed'; readonly why: Malformation };

const connect = 1;
const publish = 3;
const subscribe = 8;
const unsubscribe = 10;

/**
 * Says where the packet that begins at `start` ends. `needed` of an incomplete one is how many bytes it will have, as far as is known.
 * `isFirst`: of its connection. `isMqtt5`: what is in the packets is looked at by who reads their properties.
 */
export const takePacket = (
  bytes: Buffer,
  start: number,
  isFirst: boolean,
  limits: PacketLimits,
  isMqtt5 = false,
): Guarded => {
  const first = bytes[start];
  if (first === undefined) return { kind: 'incomplete', needed: 2 };
  if (isFirst && first >> 4 !== connect) return malformed('CONNECT_EXPECTED');
  let length = 0;
  let at = start + 1;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at];
    if (byte === undefined) return { kind: 'incomplete', needed: at + 1 - start };
    length |= (byte & 127) << shift;
    at += 1;
    if (byte < 128) break;
    if (shift === 21) return malformed('LENGTH_MALFORMED');
  }
  const end = at + length;
  // Said before the bytes are there, so nothing over the limit is ever held.
  if (end - start > (isFirst ? limits.maxConnectBytes : limits.maxPacketBytes)) {
    return malformed('PACKET_TOO_LARGE');
  }
  if (bytes.length < end) return { kind: 'incomplete', needed: end - start };
  const why = isMqtt5 ? undefined : faultIn(bytes, first, at, end);
  if (why !== undefined) return malformed(why);
  return { kind: 'packet', end };
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
    case publish:
      return faultInPublish(bytes, ((first >> 1) & 3) > 0, at, end);
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

/** Without a Reader: nearly every packet is one. */
const faultInPublish = (
  bytes: Buffer,
  hasPacketId: boolean,
  at: number,
  end: number,
): Malformation | undefined => {
  if (at + 2 > end) return 'PACKET_TRUNCATED';
  const textEnd = at + 2 + bytes.readUInt16BE(at);
  if (textEnd + (hasPacketId ? 2 : 0) > end) return 'PACKET_TRUNCATED';
  if (!isText(bytes, at + 2, textEnd)) return 'TEXT_MALFORMED';
  return hasPacketId && bytes.readUInt16BE(textEnd) === 0 ? 'PACKET_ID_ZERO' : undefined;
};

/** UTF-8 without NUL: 3.1.1, 1.5.3. `isUtf8` also refuses overlong forms and surrogates. */
export const isText = (bytes: Buffer, from: number, to: number): boolean => {
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at] as number; // below `to`, which was checked
    if (byte === 0) return false;
    if (byte > 127) {
      const rest = bytes.subarray(at, to);
      return !rest.includes(0) && isUtf8(rest);
    }
  }
  return true;
};

const faultInConnect = (reader: Reader): Malformation | undefined => {
  reader.text();
  const version = reader.byte();
  const flags = reader.byte();
  reader.skip(2);
  // Version 5 has properties here, and a reader of its own.
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

/** The protocol version that a whole CONNECT names. */
export const versionOf = (connectPacket: Buffer): number => {
  let at = 1;
  while ((connectPacket[at] ?? 0) > 127) at += 1;
  const nameAt = at + 3;
  const name = (connectPacket[at + 1] ?? 0) * 256 + (connectPacket[at + 2] ?? 0);
  return connectPacket[nameAt + name] ?? 0;
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

  text(): void {
    const length = this.#number();
    if (!this.#take(length)) return;
    if (!isText(this.#bytes, this.#at - length, this.#at)) this.fault ??= 'TEXT_MALFORMED';
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
