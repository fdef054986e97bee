/**
 * Looks at what is to be signed for a microcontroller before it is: an image that its part cannot take would be refused in front of every board.
 *
 * Errors: FLASH_IMAGE_INVALID, FLASH_IMAGE_TOO_LARGE, FLASH_PART_UNKNOWN.
 */
import { type FlashImage, prepareImage } from './flash-image.js';
import { isMcubootImage } from './mcuboot-image.js';
import { avrParts, partNamed } from './parts.js';

/** Behind MCUboot a part has the name that its line has; any other is one of those that are known. */
export const imageForPart = (file: Buffer, name: string, version: string): FlashImage => {
  const isAvr = avrParts.some((part) => part.name === name.toLowerCase());
  const protocol = !isAvr && isMcubootImage(file) ? 'mcuboot-smp' : 'stk500v1';
  return prepareImage(file, partNamed(protocol, name), { version });
};
