/**
 * Serves images to the devices of the site, over whatever door: the whole or ranges of it, from chunks that all share, so many at once as
 * the memory is meant for. Who comes beyond that is told when to come again, and who takes nothing is cut.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import { answerBytes } from '@holdfast/provisioning/transfer/byte-answer';
import type { ByteRange } from '@holdfast/provisioning/transfer/byte-ranges';
import { ChunkCache } from './chunk-cache.js';
import type { FirmwareCache } from './firmware-cache.js';
import type { HeldImage } from './held-images.js';
import { WriteTurns } from './write-turns.js';

export interface ImageServerDeps {
  readonly firmware: Pick<FirmwareCache, 'get' | 'isNeeded' | 'check'>;
  readonly log: StoreLog;
  readonly chunks?: ChunkCache;
}

export interface ImageServerOptions {
  /** Downloads at once; each holds one chunk at most that it does not share. */
  readonly maxDownloads?: number;
  /** A client that does not take a chunk within so long is cut, ms; it may go on from there with a range. */
  readonly stalledAfterMs?: number;
}

export interface ServedAs {
  /** The entity tag, without quotes; the image's SHA-256 unless given. */
  readonly tag?: string;
  /** Asked before each piece: a download that is taken back ends there, without the rest. */
  readonly mayGoOn?: () => boolean;
}

/** How long a device waits before it asks again for firmware that is on its way. */
const comingRetryMs = 10_000;
/** The same where too many load at once: a place is free again within seconds. */
const busyRetryMs = 5_000;

export class ImageServer {
  readonly #deps: ImageServerDeps;
  readonly #chunks: ChunkCache;
  readonly #turns = new WriteTurns();
  readonly #maxDownloads: number;
  readonly #stalledAfterMs: number;
  #downloads = 0;

  constructor(
    deps: ImageServerDeps,
    { maxDownloads = 128, stalledAfterMs = 60_000 }: ImageServerOptions = {},
  ) {
    this.#deps = deps;
    this.#chunks = deps.chunks ?? new ChunkCache();
    this.#maxDownloads = maxDownloads;
    this.#stalledAfterMs = stalledAfterMs;
  }

  /** Downloads that are under way. */
  get downloads(): number {
    return this.#downloads;
  }

  /**
   * Answers GET or HEAD for the image of this digest. Resolves when the answer is over, whole or not: a client that goes away is no
   * error. RESOURCE_NOT_FOUND; FIRMWARE_COMING and FIRMWARE_BUSY say when to ask again; STORE_UNAVAILABLE.
   */
  async serve(
    request: IncomingMessage,
    response: ServerResponse,
    sha256: string,
    { tag = sha256, mayGoOn = () => true }: ServedAs = {},
  ): Promise<void> {
    const { firmware, log } = this.#deps;
    const image = await firmware.get(sha256);
    if (image === undefined) {
      if (!firmware.isNeeded(sha256)) {
        throw new HoldfastError('RESOURCE_NOT_FOUND', 'there is no such firmware here');
      }
      throw new HoldfastError('FIRMWARE_COMING', 'the firmware is on its way to this site', {
        data: { retryAfterMs: comingRetryMs },
      });
    }
    const { status, headers, pieces } = answerBytes(request, { sizeBytes: image.sizeBytes, tag });
    if (pieces.length === 0) {
      response.writeHead(status, headers).end();
      return;
    }
    if (this.#downloads >= this.#maxDownloads) {
      throw new HoldfastError('FIRMWARE_BUSY', 'too many devices load firmware at once', {
        data: { retryAfterMs: busyRetryMs },
      });
    }
    this.#downloads += 1;
    try {
      response.on('error', () => undefined);
      response.writeHead(status, headers);
      for (const piece of pieces) {
        if (response.destroyed) return;
        if ('start' in piece) await this.#send(response, image, piece, mayGoOn);
        else if (!response.write(piece)) await this.#drained(response);
      }
      response.end();
      await this.#ended(response);
    } catch (error) {
      // The head has left: the length that it tells will not be reached.
      response.destroy();
      log.error({ sha256, reason: messageOf(error) }, 'firmware could not be read');
      await firmware.check(sha256);
    } finally {
      this.#downloads -= 1;
    }
  }

  async #send(
    response: ServerResponse,
    image: HeldImage,
    range: ByteRange,
    mayGoOn: () => boolean,
  ): Promise<void> {
    const { chunkBytes } = this.#chunks;
    for (let at = range.start; at <= range.end; ) {
      const index = Math.floor(at / chunkBytes);
      const first = index * chunkBytes;
      const chunk = await this.#chunks.read(image, index);
      const part = chunk.subarray(at - first, Math.min(chunk.length, range.end - first + 1));
      if (part.length === 0) throw new Error(`${image.path} is shorter than it was`);
      await this.#turns.next();
      if (!mayGoOn()) response.destroy();
      if (response.destroyed) return;
      at += part.length;
      if (!response.write(part)) await this.#drained(response);
    }
  }

  #drained(response: ServerResponse): Promise<void> {
    return this.#until(response, 'drain');
  }

  /** What is left in the buffers keeps its place: many who take nothing of it must not add up. */
  #ended(response: ServerResponse): Promise<void> {
    return response.writableFinished ? Promise.resolve() : this.#until(response, 'finish');
  }

  /** Also when the connection ends: then the next look at `destroyed` ends the download. */
  async #until(response: ServerResponse, event: 'drain' | 'finish'): Promise<void> {
    if (response.destroyed) return;
    const end = new AbortController();
    const options = { signal: end.signal };
    const timer = setTimeout(() => response.destroy(), this.#stalledAfterMs);
    try {
      await Promise.race([once(response, event, options), once(response, 'close', options)]);
    } catch {
      // The connection failed, which `destroyed` says too.
    } finally {
      clearTimeout(timer);
      end.abort();
    }
  }
}
