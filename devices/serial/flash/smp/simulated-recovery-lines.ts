/**
 * The lines of the simulated serial recovery, read as strictly as boot_serial.c reads them and written as it writes them. Its own code on
 * purpose: what the client's framing gets wrong would not be seen by itself.
 */

const mostLineBytes = 128;

export class RecoveryLines {
  readonly #most: number;
  #line = Buffer.alloc(0);
  #decoded = Buffer.alloc(0);

  constructor(receiveBytes: number) {
    this.#most = receiveBytes;
  }

  /** Requests that came whole: header and payload. */
  push(bytes: Buffer): Buffer[] {
    const requests: Buffer[] = [];
    this.#line = Buffer.concat([this.#line, bytes]);
    for (let end = this.#line.indexOf(10); end !== -1; end = this.#line.indexOf(10)) {
      const request = this.#take(this.#line.subarray(0, end));
      this.#line = this.#line.subarray(end + 1);
      if (request !== null) requests.push(request);
    }
    if (this.#line.length > mostLineBytes) this.#line = Buffer.alloc(0);
    return requests;
  }

  #take(line: Buffer): Buffer | null {
    if (line.length >= mostLineBytes || line.length < 2) return null;
    const mark = line.readUInt16BE(0);
    if (mark === 0x0609) this.#decoded = Buffer.alloc(0);
    else if (mark !== 0x0414) return null;
    const base64 = line.toString('latin1', 2);
    if (base64.length % 4 !== 0) return null;
    this.#decoded = Buffer.concat([this.#decoded, Buffer.from(base64, 'base64')]);
    if (this.#decoded.length > this.#most) {
      this.#decoded = Buffer.alloc(0);
      return null;
    }
    if (this.#decoded.length <= 4) return null;
    const length = this.#decoded.readUInt16BE(0);
    if (length !== this.#decoded.length - 2) return null;
    const body = this.#decoded.subarray(2);
    const isWhole = crcXmodem(body.subarray(0, -2)) === body.readUInt16BE(body.length - 2);
    return isWhole && body.length >= 10 ? body.subarray(0, -2) : null;
  }
}

/** As zcbor writes: maps and lists without their length, ended by a break. */
export const encodeAnswer = (request: Buffer, body: Record<string, unknown>): Buffer => {
  const payload = encodeValue(body);
  const header = Buffer.from(request.subarray(0, 8));
  header.writeUInt8((request.readUInt8(0) & 0x07) + 1, 0);
  header.writeUInt8(0, 1);
  header.writeUInt16BE(payload.length, 2);
  const packet = Buffer.concat([header, payload]);
  const framed = Buffer.alloc(packet.length + 4);
  framed.writeUInt16BE(packet.length + 2, 0);
  packet.copy(framed, 2);
  framed.writeUInt16BE(crcXmodem(packet), packet.length + 2);
  const base64 = framed.toString('base64');
  const lines: string[] = [];
  for (let at = 0; at < base64.length; at += 124) {
    lines.push(`${at === 0 ? '\x06\x09' : '\x04\x14'}${base64.slice(at, at + 124)}\n`);
  }
  return Buffer.from(lines.join(''), 'latin1');
};

const encodeValue = (value: unknown): Buffer => {
  if (typeof value === 'number') return encodeHead(0, value);
  if (typeof value === 'string') {
    const bytes = Buffer.from(value);
    return Buffer.concat([encodeHead(3, bytes.length), bytes]);
  }
  if (value instanceof Uint8Array) return Buffer.concat([encodeHead(2, value.length), value]);
  if (Array.isArray(value)) {
    return Buffer.concat([Buffer.from([0x9f]), ...value.map(encodeValue), Buffer.from([0xff])]);
  }
  const entries = Object.entries(value as Record<string, unknown>).flatMap(([key, held]) =>
    held === undefined ? [] : [encodeValue(key), encodeValue(held)],
  );
  return Buffer.concat([Buffer.from([0xbf]), ...entries, Buffer.from([0xff])]);
};

const encodeHead = (major: number, value: number): Buffer => {
  const type = major << 5;
  if (value < 24) return Buffer.from([type | value]);
  if (value < 0x100) return Buffer.from([type | 24, value]);
  if (value < 0x10000) return Buffer.from([type | 25, value >> 8, value & 0xff]);
  const head = Buffer.alloc(5);
  head.writeUInt8(type | 26, 0);
  head.writeUInt32BE(value, 1);
  return head;
};

const crcXmodem = (bytes: Buffer): number =>
  bytes.reduce((crc, byte) => {
    let next = crc ^ (byte << 8);
    for (let bit = 0; bit < 8; bit += 1) {
      next = (next & 0x8000) === 0 ? next << 1 : (next << 1) ^ 0x1021;
    }
    return next & 0xffff;
  }, 0);
