/**
 * What an image for MCUboot says of itself: header, version, digest. Its signature is MCUboot's to check, which knows the key; that the image
 * is whole, and the one that the release names, is seen here before a byte of the flash is erased.
 *
 * Errors: `FLASH_IMAGE_INVALID`. Source: docs/design.md ("Image format") and bootutil/image.h of mcu-tools/mcuboot.
 */
import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

export interface McubootImage {
  /** As imgtool writes it: `1.2.3`, with a build number `1.2.3+4`. */
  readonly version: string;
  /** The digest in its trailer, which image lists show. */
  readonly hash: Buffer;
}

const magic = 0x96f3b83d;
const headerBytes = 32;
const trailerMagic = 0x6907;
const protectedMagic = 0x6908;
const trailerInfoBytes = 4;
const entryInfoBytes = 4;

const digests = new Map([
  [0x10, 'sha256'],
  [0x11, 'sha384'],
  [0x12, 'sha512'],
]);

/** Whether it begins as one. */
export const isMcubootImage = (file: Buffer): boolean =>
  file.length >= headerBytes && file.readUInt32LE(0) === magic;

export const readMcubootImage = (file: Buffer): McubootImage => {
  if (!isMcubootImage(file)) {
    throw invalid(
      'no image for MCUboot (its first bytes are not 3d b8 f3 96): sign it with imgtool',
    );
  }
  const headerSize = file.readUInt16LE(8);
  const protectedSize = file.readUInt16LE(10);
  const bodySize = file.readUInt32LE(12);
  const hashed = headerSize + bodySize + protectedSize;
  if (headerSize < headerBytes) throw invalid(`a header of ${String(headerSize)} bytes`);
  if (hashed + trailerInfoBytes > file.length) {
    throw invalid(
      `cut off: it has ${String(file.length)} bytes and says more than ${String(hashed)}`,
    );
  }
  if (protectedSize > 0) trailerOf(file, headerSize + bodySize, protectedMagic);
  const [type, hash] = findDigest(trailerOf(file, hashed, trailerMagic));
  const found = createHash(type).update(file.subarray(0, hashed)).digest();
  if (!found.equals(hash)) throw invalid(`changed: its ${type} is another than its trailer says`);
  return { version: versionIn(file), hash };
};

/** Refuses an image that says another version than its release. */
export const checkMcubootVersion = ({ version }: McubootImage, released: string): void => {
  if (!/^\d+\.\d+\.\d+(?:\+\d+)?$/.test(released)) {
    const form = '1.2.3, or 1.2.3+4 with a build number';
    throw invalid(`for a version ${released}, which no header can say: it has to be ${form}`);
  }
  // A build number of 0 is the same as none.
  if (released.replace(/\+0+$/, '') === version) return;
  throw invalid(`of version ${version} by its header, and the release is ${released}`);
};

/** How a boot loader lists a version: `1.2.3`, `1.2.3.4` with a build number; some say 0 for it. */
export const isListedAs = (version: string, listed: string): boolean => {
  const dotted = version.replace('+', '.');
  return listed === dotted || listed === `${dotted}.0`;
};

const versionIn = (file: Buffer): string => {
  const numbers = [file.readUInt8(20), file.readUInt8(21), file.readUInt16LE(22)];
  const build = file.readUInt32LE(24);
  return `${numbers.join('.')}${build === 0 ? '' : `+${String(build)}`}`;
};

const trailerOf = (file: Buffer, at: number, expected: number): Buffer => {
  const isThere = at + trailerInfoBytes <= file.length && file.readUInt16LE(at) === expected;
  if (!isThere) throw invalid('without its trailer: sign it with imgtool');
  const size = file.readUInt16LE(at + 2);
  if (size < trailerInfoBytes || at + size > file.length) throw invalid('cut off in its trailer');
  return file.subarray(at + trailerInfoBytes, at + size);
};

const findDigest = (trailer: Buffer): [string, Buffer] => {
  for (let at = 0; at + entryInfoBytes <= trailer.length; ) {
    const name = digests.get(trailer.readUInt16LE(at));
    const end = at + entryInfoBytes + trailer.readUInt16LE(at + 2);
    if (end > trailer.length) throw invalid('cut off in its trailer');
    if (name !== undefined) return [name, trailer.subarray(at + entryInfoBytes, end)];
    at = end;
  }
  throw invalid('without a digest in its trailer');
};

const invalid = (what: string) => new HoldfastError('FLASH_IMAGE_INVALID', `The image is ${what}`);
