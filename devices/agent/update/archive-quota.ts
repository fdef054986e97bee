/** What an archive may hold: how much of it, of which kinds, and by which names. */
import type { ReadEntry } from 'tar';

export interface ArchiveQuota {
  readonly maxEntries: number;
  /** Unpacked, with what describes the entries. */
  readonly maxBytes: number;
  /** Unpacked bytes for each byte of the archive, once it is beyond `ratioFromBytes`. */
  readonly maxRatio: number;
  readonly ratioFromBytes: number;
}

export const defaultArchiveQuota: ArchiveQuota = {
  maxEntries: 20_000,
  maxBytes: 1 << 30,
  maxRatio: 200,
  ratioFromBytes: 16 << 20,
};

const maxNameBytes = 1_024;
const maxPartBytes = 255;
const maxDepth = 32;
/** Control characters, and what other systems take for a separator. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const oddCharacter = /[\\\u0000-\u001f\u007f]/;

export const plainName = (path: string): string => path.replace(/^\.\//, '').replace(/\/$/, '');

/** Counts what an archive declares and what comes out of it, and says what is wrong with it. */
export class EntryGuard {
  readonly #quota: ArchiveQuota;
  readonly #names = new Set<string>();
  #entries = 0;
  #declared = 0;
  #expanded = 0;

  constructor(quota: ArchiveQuota) {
    this.#quota = quota;
  }

  /** Bytes came out, the entries' descriptions among them, after so many of the archive went in. */
  faultOfBytes(bytes: number, read: number): string | null {
    this.#expanded += bytes;
    const { maxBytes, maxRatio, ratioFromBytes } = this.#quota;
    if (this.#expanded > maxBytes) return 'it is too large unpacked';
    return this.#expanded > ratioFromBytes && this.#expanded > read * maxRatio
      ? `it expands more than ${String(maxRatio)} times`
      : null;
  }

  faultOf(entry: ReadEntry): string | null {
    this.#entries += 1;
    this.#declared += entry.size;
    if (this.#entries > this.#quota.maxEntries) return 'it has too many entries';
    if (this.#declared > this.#quota.maxBytes) return 'it is too large unpacked';
    if (!['File', 'OldFile', 'ContiguousFile', 'Directory'].includes(entry.type)) {
      return `${quote(entry.path)} is a ${entry.type}`;
    }
    const name = plainName(entry.path);
    if ((name === '' || name === '.') && entry.type === 'Directory') return null;
    if (!isPlain(name)) return `the name ${quote(entry.path)} is not allowed`;
    if (this.#names.has(name)) return `${quote(entry.path)} is there twice`;
    this.#names.add(name);
    return null;
  }
}

const isPlain = (name: string): boolean => {
  const parts = name.split('/');
  return (
    Buffer.byteLength(name) <= maxNameBytes &&
    parts.length <= maxDepth &&
    !oddCharacter.test(name) &&
    parts.every(
      (part) =>
        part !== '' && part !== '.' && part !== '..' && Buffer.byteLength(part) <= maxPartBytes,
    )
  );
};

const quote = (path: string): string => JSON.stringify(path.slice(0, 100));
