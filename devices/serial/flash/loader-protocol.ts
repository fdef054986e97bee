/** What speaks to a boot loader: one contract for all of them, whether they write pages or take an image whole. */

import type { FlashImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import type { LoaderProtocolName, Part } from '@holdfast/provisioning/firmware/flash/part';
import type { BytePort } from '../port/byte-port.js';

export interface LoaderProtocol {
  readonly name: LoaderProtocolName;
  /**
   * Knocks until the loader answers; the port is already set to its rate, and the board was just reset. Whatever the old application
   * still prints is dropped. Takes the port's bytes until `close`. FLASH_NO_BOOT_LOADER once its window is over, SERIAL_LINE_DOWN.
   */
  open(port: BytePort, part: Part, signal: AbortSignal): Promise<Loader>;
}

/** A loader that answers. Every call has a deadline of its own, rejects with SERIAL_LINE_DOWN when the port goes, and with the signal's reason. */
export interface Loader {
  /** Asks what stands there, and writes nothing. FLASH_PART_MISMATCH; FLASH_IMAGE_TOO_LARGE where the loader takes more room than was known before. */
  identify(image: FlashImage, signal: AbortSignal): Promise<LoaderIdentity>;
  /**
   * Makes the flash hold the image: what is there already stays, everything is read back (or hashed by the loader), and no half image ever
   * starts. FLASH_VERIFY_FAILED; FLASH_NO_BOOT_LOADER when the loader has gone silent.
   */
  transfer(image: FlashImage, options: TransferOptions): Promise<TransferReport>;
  /** Lets the application start. */
  leave(signal: AbortSignal): Promise<void>;
  /** Gives the port's bytes back. Idempotent. */
  close(): void;
}

export interface LoaderIdentity {
  /** For people: `Optiboot 4.4`. */
  readonly loader: string;
  /** What the part says it is; absent where the loader can't be asked. */
  readonly signature?: string;
}

export interface TransferOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: FlashProgress) => void) | undefined;
}

export interface TransferReport {
  /** Of the image; 0 where everything was there already. */
  readonly writtenBytes: number;
  /** What was found there and was left as it was. */
  readonly keptBytes: number;
}

export interface FlashProgress {
  readonly stage: 'reset' | 'identify' | 'compare' | 'write' | 'verify' | 'leave';
  readonly doneBytes: number;
  readonly totalBytes: number;
}
