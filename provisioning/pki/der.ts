/** A writer for the few forms of DER (ITU-T X.690) that revocation lists and lists of certificates need. */

const encode = (tag: number, content: Uint8Array): Buffer => {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const digits = Buffer.from(
    length
      .toString(16)
      .padStart(length > 0xff_ffff ? 8 : length > 0xffff ? 6 : length > 0xff ? 4 : 2, '0'),
    'hex',
  );
  return Buffer.concat([Buffer.from([tag, 0x80 | digits.length]), digits, content]);
};

export const sequence = (...items: readonly Uint8Array[]): Buffer =>
  encode(0x30, Buffer.concat(items));
export const set = (...items: readonly Uint8Array[]): Buffer => encode(0x31, Buffer.concat(items));
export const octetString = (content: Uint8Array): Buffer => encode(0x04, content);
export const bitString = (content: Uint8Array): Buffer =>
  encode(0x03, Buffer.concat([Buffer.from([0]), content]));
export const explicit = (tag: number, content: Uint8Array): Buffer => encode(0xa0 | tag, content);
export const implicit = (tag: number, content: Uint8Array): Buffer => encode(0x80 | tag, content);

/** A number that is not negative, from its big-endian bytes. */
export const integer = (bytes: Uint8Array): Buffer => {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Buffer.from([0]) : bytes.subarray(first);
  const isHigh = ((digits[0] ?? 0) & 0x80) !== 0;
  return encode(0x02, isHigh ? Buffer.concat([Buffer.from([0]), digits]) : digits);
};

/** From 0 to 127. */
export const enumerated = (value: number): Buffer => encode(0x0a, Buffer.from([value]));

/** UTCTime before 2050, GeneralizedTime from then on, as RFC 5280 asks; milliseconds are cut off. */
export const time = (epochMs: number): Buffer => {
  const digits = new Date(epochMs).toISOString().replace(/[-:T]|\.\d+/g, '');
  const isShort = Number(digits.slice(0, 4)) < 2050;
  return encode(isShort ? 0x17 : 0x18, Buffer.from(isShort ? digits.slice(2) : digits));
};

export const objectId = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const septets = (arc: number): number[] =>
    arc < 0x80 ? [arc] : [...septets(Math.floor(arc / 0x80)).map((b) => b | 0x80), arc % 0x80];
  return encode(0x06, Buffer.from([first * 40 + second, ...rest].flatMap(septets)));
};
