/**
 * Chunks of files in a bounded memory that all responses share: many devices that fetch the same image read the disk once
 * (reference figures: as fast as nginx over TLS, where a stream a response is half of it).
 */
import { open } from 'node:fs/promises';
import type { HeldImage } from './held-images.js';

export interface ChunkCacheOptions {
  readonly maxBytes?: number;
  readonly chunkBytes?: number;
}

/** The disk is read on the threads that commits need too. */
const maxLoads = 2;

export class ChunkCache {
  readonly chunkBytes: number;
  readonly #maxBytes: number;
  /** In the order of their last use; each is charged a whole chunk from the moment it is asked for. */
  readonly #chunks = new Map<string, Promise<Buffer>>();
  readonly #waiting: (() => void)[] = [];
  #loads = 0;

  constructor({ maxBytes = 32 * 1024 * 1024, chunkBytes = 512 * 1024 }: ChunkCacheOptions = {}) {
    this.chunkBytes = chunkBytes;
    this.#maxBytes = maxBytes;
  }

  /** The chunk of this number; shorter at the end of the file. Never write into it. */
  read({ path, arrival }: HeldImage, index: number): Promise<Buffer> {
    // A file that came anew has nothing in common with the damaged one whose place it took.
    const key = `${index}:${arrival}:${path}`;
    const known = this.#chunks.get(key);
    this.#chunks.delete(key);
    const chunk = known ?? this.#load(path, index, key);
    this.#chunks.set(key, chunk);
    for (const oldest of this.#chunks.keys()) {
      if (this.#chunks.size * this.chunkBytes <= this.#maxBytes || oldest === key) break;
      this.#chunks.delete(oldest);
    }
    return chunk;
  }

  async #load(path: string, index: number, key: string): Promise<Buffer> {
    if (this.#loads >= maxLoads) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#loads += 1;
    try {
      const file = await open(path, 'r');
      try {
        const buffer = Buffer.allocUnsafeSlow(this.chunkBytes);
        let length = 0;
        while (length < buffer.length) {
          const at = index * this.chunkBytes + length;
          const { bytesRead } = await file.read(buffer, length, buffer.length - length, at);
          if (bytesRead === 0) break;
          length += bytesRead;
        }
        return buffer.subarray(0, length);
      } finally {
        await file.close();
      }
    } catch (error) {
      this.#chunks.delete(key);
      throw error;
    } finally {
      // Whoever waits takes the place over.
      const next = this.#waiting.shift();
      if (next === undefined) this.#loads -= 1;
      else next();
    }
  }
}
