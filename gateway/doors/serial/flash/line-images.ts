/** Images for the microcontrollers on lines: read from the cache and looked through anew each time, since nobody behind them checks a signature. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareBody } from '@holdfast/protos/link/plan-documents';
import { type FlashImage, prepareImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import type { Part } from '@holdfast/provisioning/firmware/flash/part';
import type { HeldImage } from '../../../firmware/held-images.js';
import type { LineImage } from './flash-state.js';

export interface LineImagesDeps {
  readonly firmware: {
    get(sha256: string): Promise<HeldImage | undefined>;
    /** It could not be read as it should. */
    check(sha256: string): Promise<void>;
    isHeld(sha256: string): boolean;
    /** `{model}@{version}`, of the plan or of what is kept. */
    find(name: string): FirmwareBody | undefined;
  };
  /** Whether a release of the plan is trusted; undefined when it is. */
  readonly refusal: (image: FirmwareBody) => unknown;
}

/** Of what a microcontroller holds, Intel HEX takes less than three times as much. */
const largestFileBytes = 16 * 1024 * 1024;

export class LineImages {
  readonly #deps: LineImagesDeps;

  constructor(deps: LineImagesDeps) {
    this.#deps = deps;
  }

  isHeld({ sha256 }: LineImage): boolean {
    return this.#deps.firmware.isHeld(sha256);
  }

  /**
   * What is to stand in the flash. STORE_UNAVAILABLE while the image is not here whole; FLASH_IMAGE_INVALID, FLASH_IMAGE_TOO_LARGE where it
   * is none for this part.
   */
  async read(image: LineImage, part: Part, signal: AbortSignal): Promise<FlashImage> {
    const { firmware } = this.#deps;
    const { sha256, sizeBytes, version } = image;
    if (sizeBytes > largestFileBytes) {
      throw new HoldfastError('FLASH_IMAGE_TOO_LARGE', `${version} has ${sizeBytes} bytes`);
    }
    const held = await firmware.get(sha256);
    if (held === undefined) {
      throw new HoldfastError(
        'STORE_UNAVAILABLE',
        `waits for its firmware: ${version} is not here`,
      );
    }
    const hash = createHash('sha256');
    const chunks: Buffer[] = [];
    let bytes = 0;
    // One byte more tells a file that has grown.
    for await (const chunk of createReadStream(held.path, { end: sizeBytes, signal })) {
      // Without an encoding a file is read as buffers.
      const read = chunk as Buffer;
      hash.update(read);
      chunks.push(read);
      bytes += read.length;
    }
    if (bytes !== sizeBytes || hash.digest('hex') !== sha256) {
      await firmware.check(sha256);
      throw new HoldfastError(
        'STORE_UNAVAILABLE',
        `${version} is not whole at the gateway any more`,
      );
    }
    return prepareImage(Buffer.concat(chunks), part, { version });
  }

  /** What runs, by its name, as far as it is here and trusted: for a board that nothing was flashed into by this gateway yet. */
  named(model: string, version: string): LineImage | null {
    const body = this.#deps.firmware.find(`${model}@${version}`);
    if (body === undefined || this.#deps.refusal(body) !== undefined) return null;
    return this.#deps.firmware.isHeld(body.sha256) ? lineImage(body) : null;
  }
}

export const lineImage = ({ model, version, sha256, size_bytes }: FirmwareBody): LineImage => ({
  ...{ model, version, sha256, sizeBytes: size_bytes },
});
