/** SHA-1 and MD5 of the images that are here, which old clients compare; what an image is was verified by its SHA-256 before. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareCache } from '../../firmware/firmware-cache.js';
import type { WeakDigests } from './deployment-answer.js';

export interface ImageDigestsDeps {
  readonly firmware: Pick<FirmwareCache, 'get'>;
}

/** So many images at once are more than a site has. */
const mostKept = 256;
/** How long a device waits before it asks again for an image that is on its way. */
const comingRetryMs = 10_000;

export class ImageDigests {
  readonly #deps: ImageDigestsDeps;
  readonly #known = new Map<string, Promise<WeakDigests>>();

  constructor(deps: ImageDigestsDeps) {
    this.#deps = deps;
  }

  /** Read once, whoever asks. Errors: FIRMWARE_COMING while it is not here, STORE_UNAVAILABLE. */
  of(sha256: string): Promise<WeakDigests> {
    const known = this.#known.get(sha256);
    if (known !== undefined) return known;
    const read = this.#read(sha256);
    this.#known.set(sha256, read);
    read.catch(() => this.#known.delete(sha256));
    const [oldest] = this.#known.keys();
    if (this.#known.size > mostKept && oldest !== undefined) this.#known.delete(oldest);
    return read;
  }

  async #read(sha256: string): Promise<WeakDigests> {
    const image = await this.#deps.firmware.get(sha256);
    if (image === undefined) {
      throw new HoldfastError('FIRMWARE_COMING', 'the firmware is on its way to this site', {
        data: { retryAfterMs: comingRetryMs },
      });
    }
    const [sha1, md5] = [createHash('sha1'), createHash('md5')];
    for await (const chunk of createReadStream(image.path, { highWaterMark: 262_144 })) {
      sha1.update(chunk as Buffer);
      md5.update(chunk as Buffer);
    }
    return { sha1: sha1.digest('hex'), md5: md5.digest('hex') };
  }
}
