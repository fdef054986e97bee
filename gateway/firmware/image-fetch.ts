/**
 * Fetches one image over the WAN: as a delta where the site holds what it was made from and less is to come that way, else as it is. The
 * image has its digest in either case, and a delta that turns out to be of no use costs its bytes and nothing else.
 */
import { rm, stat } from 'node:fs/promises';
import type { Agent } from 'node:https';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareDelta } from '@holdfast/protos/link/plan-documents';
import { digestOfNothing } from '@holdfast/provisioning/delta/delta-format';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import {
  type DownloadRequest,
  download,
  partialOf,
} from '@holdfast/provisioning/transfer/download';
import type { CacheRoom } from './cache-room.js';
import type { HeldImages } from './held-images.js';
import { rebuildImage, usableDeltas } from './rebuild-image.js';
import type { WantedImage } from './wanted-images.js';

export interface ImageFetchDeps {
  readonly source: { readonly address: string; readonly agent: Agent };
  readonly images: HeldImages;
  readonly room: CacheRoom;
  readonly log: StoreLog;
  readonly pace: NonNullable<DownloadRequest['pace']>;
  /** A delta is here; the image itself is the caller's to tell. */
  readonly onArrived: (sha256: string) => void;
}

export interface ImageFetchOptions {
  readonly quarantine: string;
  readonly idleTimeoutMs: number | undefined;
}

interface RemoteFile {
  readonly sha256: string;
  readonly size_bytes: number;
  readonly path: string;
}

/** A delta that could not be had so often is left for the image itself. */
const mostAttempts = 3;

export class ImageFetch {
  readonly #deps: ImageFetchDeps;
  readonly #options: ImageFetchOptions;
  /** Deltas by their failures; those that are good for nothing have failed too often at once. */
  readonly #failures = new Map<string, number>();

  constructor(deps: ImageFetchDeps, options: ImageFetchOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** One attempt; resolves when the image is held. Errors: as `download`, and STORE_FULL. */
  async fetch(image: WantedImage, signal: AbortSignal): Promise<void> {
    const { images, room } = this.#deps;
    const { body } = image;
    for (const delta of usableDeltas(body, images.has.bind(images))) {
      if ((this.#failures.get(delta.sha256) ?? 0) >= mostAttempts) continue;
      if ((await this.#missingBytes(body)) <= (await this.#missingBytes(delta))) continue;
      if (await this.#rebuild(image, delta, signal)) return;
    }
    await room.make(body.size_bytes, image);
    await this.#download(body, signal);
    images.add(body.sha256, body.size_bytes);
  }

  /** Whether the image is here now. False: this delta is of no use. */
  async #rebuild(image: WantedImage, delta: FirmwareDelta, signal: AbortSignal): Promise<boolean> {
    const { images, room, log } = this.#deps;
    const { body } = image;
    // Looked through: what it holds is what its name says.
    const source = await images.get(delta.from_sha256);
    if (source === undefined && delta.from_sha256 !== digestOfNothing) return false;
    const isHeld = images.has(delta.sha256);
    const bytes = body.size_bytes + (isHeld ? 0 : delta.size_bytes);
    const keep = [delta.from_sha256, delta.sha256];
    const hasRoom = await room.make(bytes, image, keep).then(
      () => true,
      (error: unknown) => {
        if (isHoldfastError(error, 'STORE_FULL')) return false;
        throw error;
      },
    );
    if (!hasRoom) return false;
    try {
      if (!isHeld) {
        await this.#download(delta, signal);
        images.add(delta.sha256, delta.size_bytes);
        this.#deps.onArrived(delta.sha256);
      }
      await rebuildImage({
        ...{ firmware: body, delta, signal },
        deltaPath: images.pathOf(delta.sha256),
        sourcePath: source?.path ?? null,
        path: images.pathOf(body.sha256),
      });
    } catch (error) {
      signal.throwIfAborted();
      if (!this.#isUseless(delta, error)) throw error;
      log.warn(
        { sha256: body.sha256, delta: delta.sha256, reason: messageOf(error) },
        'a delta is of no use; the image itself is fetched instead',
      );
      await images.remove(delta.sha256);
      return false;
    }
    await rm(partialOf(images.pathOf(body.sha256)), { force: true });
    images.add(body.sha256, body.size_bytes);
    log.info(
      { sha256: body.sha256, sizeBytes: delta.size_bytes, from: delta.from_version },
      'a firmware image was made of another one and a delta',
    );
    return true;
  }

  #isUseless({ sha256 }: FirmwareDelta, error: unknown): boolean {
    // A WAN that is away says nothing of the delta: it goes on when that is back.
    if (isOutage(error)) return false;
    const isBad = error instanceof HoldfastError && hopeless.has(error.code);
    const failures = isBad ? mostAttempts : (this.#failures.get(sha256) ?? 0) + 1;
    this.#failures.set(sha256, failures);
    return failures >= mostAttempts;
  }

  async #missingBytes({ sha256, size_bytes }: RemoteFile): Promise<number> {
    const { images } = this.#deps;
    if (images.has(sha256)) return 0;
    const begun = await stat(partialOf(images.pathOf(sha256))).catch(() => undefined);
    return size_bytes - (begun?.size ?? 0);
  }

  async #download(file: RemoteFile, signal: AbortSignal): Promise<void> {
    const { source, images, pace } = this.#deps;
    const { quarantine, idleTimeoutMs } = this.#options;
    await download({
      url: new URL(file.path, source.address).href,
      agent: source.agent,
      path: images.pathOf(file.sha256),
      sha256: file.sha256,
      sizeBytes: file.size_bytes,
      quarantine,
      pace,
      ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
      signal,
    });
  }
}

/** Nobody answered, or the answer broke off; whoever answers says a status. */
const isOutage = (error: unknown): boolean =>
  (isHoldfastError(error, 'CONNECTION_FAILED') && error.data?.status === undefined) ||
  isHoldfastError(error, 'DEADLINE_EXCEEDED');

const hopeless: ReadonlySet<string> = new Set([
  'UPDATE_DELTA_INVALID',
  'UPDATE_DIGEST_MISMATCH',
  'UPDATE_DOWNLOAD_FAILED',
]);
