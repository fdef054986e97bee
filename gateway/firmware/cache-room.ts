/** The quota of the firmware cache: what goes when something else has to come. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { HeldImages } from './held-images.js';
import type { ImageWants } from './image-wants.js';
import type { WantedImage } from './wanted-images.js';

export interface CacheRoomDeps {
  readonly images: HeldImages;
  readonly wants: ImageWants;
  readonly isPinned: (sha256: string) => boolean;
  readonly onEvicted: (sha256: string) => void;
}

export interface CacheRoomOptions {
  readonly folder: string;
  readonly quotaBytes: number;
}

/** How much somebody would miss an image: `urgent` and `pinned` ones stay, whatever comes. */
type Worth = 'none' | 'foreseen' | 'urgent' | 'pinned';

export class CacheRoom {
  readonly #deps: CacheRoomDeps;
  readonly #options: CacheRoomOptions;

  constructor(deps: CacheRoomDeps, options: CacheRoomOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /**
   * Makes room for so many bytes, for the sake of this image: what nobody needs goes first, the least recently used of it before the
   * others; for what is urgent also what is only foreseen. `keep` stays in any case. STORE_FULL when that is not enough; then nothing
   * that was foreseen is gone.
   */
  async make(bytes: number, image: WantedImage, keep: readonly string[] = []): Promise<void> {
    const { images, onEvicted } = this.#deps;
    const { quotaBytes } = this.#options;
    await this.#removeLeftovers();
    const worths: readonly Worth[] = image.isUrgent ? ['none', 'foreseen'] : ['none'];
    const evictable = worths.flatMap((worth) =>
      images
        .byUse()
        .filter(({ sha256 }) => !keep.includes(sha256) && this.#worthOf(sha256) === worth),
    );
    const free = quotaBytes - images.bytes;
    const most = evictable.reduce((all, { sizeBytes }) => all + sizeBytes, free);
    if (most < bytes) {
      throw new HoldfastError(
        'STORE_FULL',
        `the firmware cache has no room: ${bytes} bytes are needed, ${Math.max(0, most)} of ${quotaBytes} are free of what campaigns need and people pinned`,
        { data: { next: 'holdfast --gateway firmware list' } },
      );
    }
    for (const { sha256 } of evictable) {
      if (images.bytes + bytes <= quotaBytes) break;
      await images.remove(sha256);
      onEvicted(sha256);
    }
  }

  #worthOf(sha256: string): Worth {
    const { wants, isPinned } = this.#deps;
    if (isPinned(sha256)) return 'pinned';
    const wanted = wants.get(sha256) ?? this.#wantedDelta(sha256);
    if (wanted === undefined) return 'none';
    return wanted.isUrgent ? 'urgent' : 'foreseen';
  }

  /** The image that this is a delta of, where one is wanted: devices that have its source load it instead of the image. */
  #wantedDelta(sha256: string): WantedImage | undefined {
    return this.#deps.wants
      .inTurn()
      .find(({ body }) => body.deltas?.some((delta) => delta.sha256 === sha256));
  }

  /** What was begun of images that nobody needs any more. */
  async #removeLeftovers(): Promise<void> {
    const { folder } = this.#options;
    for (const name of await readdir(folder)) {
      const [, sha256 = '', suffix] = /^([0-9a-f]{64})\.(part|rebuilding)$/.exec(name) ?? [];
      const isNeeded =
        suffix === 'part' &&
        (this.#deps.wants.get(sha256) ?? this.#wantedDelta(sha256)) !== undefined;
      if (suffix !== undefined && !isNeeded) await rm(join(folder, name), { force: true });
    }
  }
}
