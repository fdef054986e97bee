import type { Database } from '@holdfast/provisioning/storage/database';
import {
  noShadow,
  readShadow,
  type ShadowKey,
  type ShadowRow,
  type StoredShadow,
  selectShadow,
} from './stored-shadow.js';

/** The shadows that were used last, as they are committed; bounded by what they take, the others are read again. */
export class ShadowCache {
  readonly #read: Database;
  readonly #maxBytes: number;
  /** In the order of their last use. */
  readonly #shadows = new Map<string, { readonly shadow: StoredShadow; readonly bytes: number }>();
  #bytes = 0;

  constructor(read: Database, maxBytes: number) {
    this.#read = read;
    this.#maxBytes = maxBytes;
  }

  /** What the shadows held take, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** `noShadow` when there is none. */
  async load(key: ShadowKey): Promise<StoredShadow> {
    const text = textOf(key);
    const cached = this.#shadows.get(text);
    if (cached !== undefined) {
      this.#shadows.delete(text);
      this.#shadows.set(text, cached);
      return cached.shadow;
    }
    const row = await this.#read.get<ShadowRow>(selectShadow, [key.device, key.name]);
    const shadow = readShadow(row);
    if (shadow !== noShadow) this.remember(key, shadow);
    return shadow;
  }

  /** Call after the commit. */
  remember(key: ShadowKey, shadow: StoredShadow): void {
    this.forget(key);
    const bytes = bytesOf(shadow);
    this.#shadows.set(textOf(key), { shadow, bytes });
    this.#bytes += bytes;
    for (const [oldest, { bytes }] of this.#shadows) {
      if (this.#bytes <= this.#maxBytes) return;
      this.#shadows.delete(oldest);
      this.#bytes -= bytes;
    }
  }

  /** Call when a commit failed: whatever is on disk then is read again. */
  forget(key: ShadowKey): void {
    const text = textOf(key);
    this.#bytes -= this.#shadows.get(text)?.bytes ?? 0;
    this.#shadows.delete(text);
  }
}

/** What a leaf takes beside its value, about: one with 16 texts of 54 characters was measured to take 8,000 bytes. */
const leafBytes = 400;
const shadowBytes = 500;

const bytesOf = ({ state }: StoredShadow): number => {
  let bytes = shadowBytes;
  for (const operations of [state.leaves, state.lost]) {
    for (const { value, over = [] } of operations.values()) {
      bytes += leafBytes * (1 + over.length);
      if (typeof value === 'string') bytes += 2 * value.length;
      else if (typeof value === 'object') bytes += 8 * JSON.stringify(value).length;
    }
  }
  return bytes;
};

/** Neither ids nor names of shadows hold a slash. */
export const textOf = ({ device, name }: ShadowKey): string => `${device}/${name}`;
