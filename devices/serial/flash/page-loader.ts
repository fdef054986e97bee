/** A boot loader that reads and writes pages of an AVR's flash: what is left once its protocol is known. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { FlashImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import type { AvrPart, Part } from '@holdfast/provisioning/firmware/flash/part';
import type { Loader, LoaderIdentity } from './loader-protocol.js';
import { type PageMemory, transferPages } from './page-transfer.js';
import { vectorFiller } from './vector-filler.js';

/** What a protocol finds out about the loader that answers. */
export interface PageLoaderFacts extends LoaderIdentity {
  readonly signature: string;
  /** What the loader itself takes at the end of the flash. */
  readonly bootBytes: number;
}

export interface PageLoaderCalls {
  readonly ask: (signal: AbortSignal) => Promise<PageLoaderFacts>;
  readonly memory: PageMemory;
  readonly leave: (signal: AbortSignal) => Promise<void>;
  readonly close: () => void;
}

export const pageLoader = (part: AvrPart, calls: PageLoaderCalls): Loader => {
  let loaderStart = part.flashBytes;
  return {
    identify: async (image, signal) => {
      const { signature, bootBytes, loader } = await calls.ask(signal);
      checkSignature(part, signature);
      loaderStart = part.flashBytes - bootBytes;
      checkRoom(image, { loader, loaderStart });
      return { signature, loader };
    },
    transfer: async (image, options) => {
      const filler = vectorFiller(part.pageBytes, { loaderStart, flashBytes: part.flashBytes });
      return await transferPages(calls.memory, { image, filler }, options);
    },
    leave: calls.leave,
    close: calls.close,
  };
};

const checkSignature = (part: AvrPart, signature: string): void => {
  if (signature === part.signature) return;
  const message = `The part on the line says it is ${signature}; an ${part.name} is ${part.signature}`;
  throw new HoldfastError('FLASH_PART_MISMATCH', message, {
    data: { found: signature, expected: part.signature },
  });
};

const checkRoom = (
  image: FlashImage,
  { loader, loaderStart }: { readonly loader: string; readonly loaderStart: number },
): void => {
  const imageBytes = image.bytes.length;
  if (imageBytes <= loaderStart) return;
  const message = `The image takes ${imageBytes} bytes; beside ${loader} there are ${loaderStart}`;
  throw new HoldfastError('FLASH_IMAGE_TOO_LARGE', message, {
    data: { imageBytes, roomBytes: loaderStart },
  });
};

/** The session once the loader answers; one that never did gives the port back. */
export const synced = async <S extends { sync(signal: AbortSignal): Promise<void>; close(): void }>(
  session: S,
  signal: AbortSignal,
): Promise<S> => {
  try {
    await session.sync(signal);
    return session;
  } catch (error) {
    session.close();
    throw error;
  }
};

export const silent = (): HoldfastError =>
  new HoldfastError('FLASH_NO_BOOT_LOADER', 'No boot loader answers on the line');

/** What a loader of AVRs takes its part for. FLASH_PART_UNKNOWN. */
export const avrPartOf = (part: Part): AvrPart => {
  if (part.family === 'avr') return part;
  throw new HoldfastError('FLASH_PART_UNKNOWN', `This loader writes AVRs; ${part.name} is none`);
};
