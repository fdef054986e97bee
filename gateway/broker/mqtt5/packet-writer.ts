/** Writes what the broker says to an MQTT 5 client but for PUBLISH: small packets, field by field. */

export class PacketWriter {
  readonly #bytes: number[] = [];

  get length(): number {
    return this.#bytes.length;
  }

  byte(value: number): this {
    this.#bytes.push(value & 255);
    return this;
  }

  uint16(value: number): this {
    return this.byte(value >>> 8).byte(value);
  }

  uint32(value: number): this {
    return this.uint16(value >>> 16).uint16(value & 0xffff);
  }

  varint(value: number): this {
    let rest = value;
    for (; rest > 127; rest >>>= 7) this.byte((rest & 127) | 128);
    return this.byte(rest);
  }

  text(value: string): this {
    const encoded = Buffer.from(value);
    return this.uint16(encoded.length).bytes(encoded);
  }

  bytes(value: Uint8Array): this {
    for (const byte of value) this.#bytes.push(byte);
    return this;
  }

  taken(): Buffer {
    return Buffer.from(this.#bytes);
  }

  /** All of it as a packet whose first byte this is. */
  packet(first: number): Buffer {
    const head = new PacketWriter().byte(first).varint(this.length);
    return Buffer.concat([head.taken(), this.taken()]);
  }
}

/** Bytes a variable byte integer takes. */
export const varintBytes = (value: number): 1 | 2 | 3 | 4 =>
  value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
