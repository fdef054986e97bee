/**
 * The one format of deltas (decisions/0004-delta-format.md): a bsdiff whose control, diff and extra bytes follow each other in one stream
 * (`ENDSLEY/BSDIFF43`), the whole of it under brotli (RFC 7932, so with a window of 16 MiB at most).
 *
 * The stream: the magic, the image's size, then controls until the image is whole. A control is three numbers, `diff` bytes that are added
 * to as many of the source, `extra` bytes that are copied, and by how much the position in the source then moves. A number has 8 bytes,
 * little-endian, its sign in the highest bit.
 */

/** As documents name it. */
export const deltaFormat = 'bsdiff43+br';

/** What nothing has as its SHA-256: the source of an image that is merely compressed. */
export const digestOfNothing = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

export const deltaMagic = Buffer.from('ENDSLEY/BSDIFF43');
export const numberBytes = 8;
export const headerBytes = deltaMagic.length + numberBytes;
export const controlBytes = 3 * numberBytes;

export interface DeltaControl {
  readonly diffBytes: number;
  readonly extraBytes: number;
  /** Added to the position in the source. */
  readonly seekBytes: number;
}

/** NaN for what no number of ours holds exactly. */
export const readNumber = (bytes: Uint8Array, at: number): number => {
  let value = (bytes[at + 7] ?? 0) & 0x7f;
  for (let i = 6; i >= 0; i -= 1) value = value * 256 + (bytes[at + i] ?? 0);
  if (!Number.isSafeInteger(value)) return Number.NaN;
  return ((bytes[at + 7] ?? 0) & 0x80) === 0 ? value : -value;
};

export const writeNumber = (value: number, bytes: Uint8Array, at: number): void => {
  let rest = Math.abs(value);
  for (let i = 0; i < numberBytes; i += 1) {
    bytes[at + i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  if (value < 0) bytes[at + 7] = (bytes[at + 7] ?? 0) | 0x80;
};

export const readControl = (bytes: Uint8Array): DeltaControl => ({
  diffBytes: readNumber(bytes, 0),
  extraBytes: readNumber(bytes, numberBytes),
  seekBytes: readNumber(bytes, 2 * numberBytes),
});

export const controlOf = ({ diffBytes, extraBytes, seekBytes }: DeltaControl): Buffer => {
  const bytes = Buffer.alloc(controlBytes);
  writeNumber(diffBytes, bytes, 0);
  writeNumber(extraBytes, bytes, numberBytes);
  writeNumber(seekBytes, bytes, 2 * numberBytes);
  return bytes;
};

export const headerOf = (sizeBytes: number): Buffer => {
  const header = Buffer.alloc(headerBytes);
  deltaMagic.copy(header);
  writeNumber(sizeBytes, header, deltaMagic.length);
  return header;
};
