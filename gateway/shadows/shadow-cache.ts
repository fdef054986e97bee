import type { Database } from '@holdfast/provisioning/storage/database';
import {
  noShadow,
  readShadow,
  type ShadowKey,
  type ShadowRow,
  type StoredShadow,
  selectShadow,
} from './stored-shadow.js';

/** The shadows that were used last, as they are committed; bounded, the others are read again. */
export class ShadowCache {
  readonly #read: Database;
  readonly #maxShadows: number;
  /** In the order of their last use. */
  readonly #shadows = new Map<string, StoredShadow>();

  constructor(read: Database, maxShadows: number) {
    this.#read = read;
    this.#maxShadows = maxShadows;
  }

  /** `noShadow` when there is none. */
  async load(key: ShadowKey): Promise<StoredShadow> {
    const cached = this.#shadows.get(textOf(key));
    const shadow =
      cached ?? readShadow(await this.#read.get<ShadowRow>(selectShadow, [key.device, key.name]));
    if (shadow !== noShadow) this.remember(key, shadow);
    return shadow;
  }

  /** Call after the commit. */
  remember(key: ShadowKey, shadow: StoredShadow): void {
    const text = textOf(key);
    this.#shadows.delete(text);
    this.#shadows.set(text, shadow);
    if (this.#shadows.size <= this.#maxShadows) return;
    const [oldest] = this.#shadows.keys();
    if (oldest !== undefined) this.#shadows.delete(oldest);
  }

  /** Call when a commit failed: whatever is on disk then is read again. */
  forget(key: ShadowKey): void {
    this.#shadows.delete(textOf(key));
  }
}

/** Neither ids nor names of shadows hold a slash. */
export const textOf = ({ device, name }: ShadowKey): string => `${device}/${name}`;
