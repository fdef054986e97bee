/**
 * What is to stand in a microcontroller's flash, made of the file that was signed: Intel HEX (it begins with a colon) or the bytes as they
 * are, from address 0.
 *
 * Errors: FLASH_IMAGE_INVALID (of Intel HEX with the line), FLASH_IMAGE_TOO_LARGE.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { bytesOfIntelHex } from './intel-hex.js';
import { checkMcubootVersion, readMcubootImage } from './mcuboot-image.js';
import type { AvrPart, Part } from './part.js';

export interface FlashImage {
  /** From address 0, gaps as erased flash reads (0xFF), without padding at the end. */
  readonly bytes: Buffer;
}

/** The boot loader's section, at its smallest, is never part of an image; `Loader.identify` knows how large the one that answers really is. */
export const prepareImage = (file: Buffer, part: Part, release?: ReleasedVersion): FlashImage =>
  part.family === 'avr' ? avrImage(file, part) : mcubootImage(file, release);

/** An image for MCUboot says its version itself: where the release is known, it has to be that. */
export interface ReleasedVersion {
  readonly version: string;
}

const mcubootImage = (file: Buffer, release: ReleasedVersion | undefined): FlashImage => {
  const image = readMcubootImage(file);
  if (release !== undefined) checkMcubootVersion(image, release.version);
  return { bytes: file };
};

const avrImage = (file: Buffer, part: AvrPart): FlashImage => {
  const room = part.flashBytes - Math.min(...part.bootBytes);
  const format = otherFormats.find(({ begins }) => file.subarray(0, begins.length).equals(begins));
  if (format !== undefined) {
    throw new HoldfastError('FLASH_IMAGE_INVALID', `This is ${format.name}: ${format.next}`);
  }
  const bytes = file[0] === colon ? bytesOfIntelHex(file, { limitBytes: room }) : file;
  if (bytes.length > room) {
    const message = `The image takes ${bytes.length} bytes; an ${part.name} has ${room} for its application`;
    throw new HoldfastError('FLASH_IMAGE_TOO_LARGE', message, {
      data: { imageBytes: bytes.length, roomBytes: room },
    });
  }
  // An erased word is no instruction that a program starts with: it would run on into whatever follows.
  if (bytes.length < 2 || bytes.readUInt16LE(0) === 0xffff) {
    throw new HoldfastError('FLASH_IMAGE_INVALID', 'The image has no reset vector at address 0');
  }
  return { bytes };
};

const colon = 0x3a;

/** What compilers write beside the image, and would be taken for its bytes: none of them begins as a reset vector does. */
const otherFormats = [
  {
    name: 'an ELF file',
    begins: Buffer.from('\x7fELF', 'latin1'),
    next: 'make the image of it with avr-objcopy -j .text -j .data -O ihex FILE.elf FILE.hex',
  },
  {
    name: 'a file of Motorola S-records',
    begins: Buffer.from('S0'),
    next: 'make Intel HEX of it with avr-objcopy -I srec -O ihex FILE FILE.hex',
  },
];
