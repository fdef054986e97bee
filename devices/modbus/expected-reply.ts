/** What the answer to a request must look like: everything of it that is known before it comes. Pure. */
export interface ExpectedReply {
  readonly unit: number;
  readonly code: number;
  /** What it begins with: unit, function and number of bytes; of a write, all of it. */
  readonly head: Buffer;
  /** Its length in bytes, without a checksum. */
  readonly length: number;
}

/** Of a request as modbus-serial makes them: unit, function, what it is about, checksum. */
export const expectedReply = (request: Buffer): ExpectedReply => {
  const unit = request.readUInt8(0);
  const code = request.readUInt8(1);
  if (code <= 4) {
    const count = request.readUInt16BE(4);
    const bytes = code <= 2 ? Math.ceil(count / 8) : count * 2;
    return { unit, code, head: Buffer.of(unit, code, bytes), length: 3 + bytes };
  }
  // Single and mask writes are repeated whole, others without what was written.
  const head = Buffer.from(request.subarray(0, code === 22 ? 8 : 6));
  return { unit, code, head, length: head.length };
};

/** How long an answer is that begins like this, or an exception; 0 for none that is known here. */
export const replyLength = (code: number, byteCount: number): number => {
  if (code > 0x80) return 3;
  if (code >= 1 && code <= 4) return 3 + byteCount;
  if (code === 5 || code === 6 || code === 15 || code === 16) return 6;
  return code === 22 ? 8 : 0;
};

/** Whether at this place stands what was expected, or an exception to it; its length, or 0. */
export const replyAt = (bytes: Buffer, at: number, expected: ExpectedReply): number => {
  if (bytes[at] !== expected.unit) return 0;
  if (bytes[at + 1] === (expected.code | 0x80)) return 3;
  const { head, length } = expected;
  for (let i = 1; i < head.length && at + i < bytes.length; i += 1) {
    if (bytes[at + i] !== head[i]) return 0;
  }
  return bytes[at + 1] === expected.code ? length : 0;
};
