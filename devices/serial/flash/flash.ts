/**
 * Writes an image into a microcontroller through its boot loader: reset, sync, identify, compare, write, verify, leave. It may be cut at
 * any point, by either end, and be begun again: what runs is never half an image (README.md says where a loader can't promise it).
 */
import { isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { FlashImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import type { Part } from '@holdfast/provisioning/firmware/flash/part';
import type { BytePort } from '../port/byte-port.js';
import { knock } from './knock.js';
import type {
  FlashProgress,
  Loader,
  LoaderIdentity,
  LoaderProtocol,
  TransferReport,
} from './loader-protocol.js';
import type { Reset } from './resets.js';

/** What stands on the line, and how it is brought to its loader. */
export interface FlashBoard {
  readonly port: BytePort;
  readonly reset: Reset;
}

export interface FlashWork {
  readonly loader: LoaderProtocol;
  readonly part: Part;
  /** Of the boot loader; the line's own settings are whoever lent the port's to restore. */
  readonly baudRate: number;
  readonly image: FlashImage;
}

export interface FlashOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: FlashProgress) => void;
  /** How often the board is reset and knocked at, backed off in between, before FLASH_NO_BOOT_LOADER; Infinity finds a board that was cut. */
  readonly attempts?: number;
}

export interface FlashReport extends LoaderIdentity, TransferReport {
  readonly imageBytes: number;
  readonly durationMs: number;
}

/**
 * Resolves when the flash holds the image and the application was started; the proof that it runs is its hello. FLASH_PART_MISMATCH and
 * FLASH_IMAGE_TOO_LARGE before a byte is written, FLASH_NO_BOOT_LOADER, FLASH_VERIFY_FAILED, SERIAL_LINE_DOWN; rejects with the signal's reason.
 */
export const flash = async (
  { port, reset }: FlashBoard,
  { loader, part, baudRate, image }: FlashWork,
  { signal, onProgress, attempts = 5 }: FlashOptions,
): Promise<FlashReport> => {
  const startedMs = performance.now();
  const imageBytes = image.bytes.length;
  const say = (stage: FlashProgress['stage'], doneBytes = 0) =>
    onProgress?.({ stage, doneBytes, totalBytes: imageBytes });
  await port.change({ baudRate, dataBits: 8, parity: 'none', stopBits: 1 });
  const onReset = () => say('reset');
  for (let begun = 1; ; begun += 1) {
    const opened = await knock({ port, reset }, { loader, part }, { signal, attempts, onReset });
    try {
      say('identify');
      const identity = await identified(opened, image, signal);
      const transferred = await opened.transfer(image, { signal, onProgress });
      say('leave', imageBytes);
      await opened.leave(signal);
      const durationMs = Math.round(performance.now() - startedMs);
      return { ...identity, ...transferred, imageBytes, durationMs };
    } catch (error) {
      // It went silent in between, as after a garbled byte: it is met again after a reset, and what it has is compared first.
      if (!isHoldfastError(error, 'FLASH_NO_BOOT_LOADER') || begun === mostBegun) throw error;
    } finally {
      opened.close();
    }
  }
};

/** Whatever stands there instead goes on with what it did. */
const identified = async (
  loader: Loader,
  image: FlashImage,
  signal: AbortSignal,
): Promise<LoaderIdentity> => {
  try {
    return await loader.identify(image, signal);
  } catch (error) {
    const isRefused =
      isHoldfastError(error, 'FLASH_PART_MISMATCH') ||
      isHoldfastError(error, 'FLASH_IMAGE_TOO_LARGE');
    if (isRefused) await loader.leave(signal).catch(() => undefined);
    throw error;
  }
};

/** How often a loader may fall silent in one flash. */
const mostBegun = 5;
