/**
 * Application archives (`.tar.gz`): looked through whole before anything of them is written, then unpacked.
 *
 * An archive holds plain files and folders with plain names and nothing else. Refused: links, devices, absolute names and `..`, more
 * entries or bytes than the quota, anything damaged. Errors: `UPDATE_ARCHIVE_REFUSED`, `UPDATE_MANIFEST_INVALID`.
 */
import { createReadStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { type ReadEntry, Parser as TarParser, Unpack } from 'tar';
import { type AppManifest, manifestName, maxManifestBytes, parseManifest } from './app-manifest.js';
import { syncPath, syncTree } from './sync-tree.js';

export interface ArchiveQuota {
  readonly maxEntries: number;
  /** Unpacked. */
  readonly maxBytes: number;
}

export const defaultArchiveQuota: ArchiveQuota = { maxEntries: 20_000, maxBytes: 1 << 30 };

/** Reads the whole archive, writes nothing, and gives its manifest. */
export const inspectArchive = async (
  path: string,
  signal: AbortSignal,
  quota: ArchiveQuota = defaultArchiveQuota,
): Promise<AppManifest> => {
  const guard = new EntryGuard(quota);
  const manifest: Buffer[] = [];
  const parser = new TarParser({
    strict: true,
    onReadEntry: (entry) => {
      const fault = guard.faultOf(entry);
      if (fault !== null) {
        parser.abort(refused(fault));
      } else if (plainName(entry.path) === manifestName && entry.size <= maxManifestBytes) {
        entry.on('data', (chunk) => manifest.push(Buffer.from(chunk)));
        return;
      }
      entry.resume();
    },
  });
  await feed(path, parser, signal);
  if (manifest.length === 0) {
    throw new HoldfastError('UPDATE_MANIFEST_INVALID', `The archive has no ${manifestName}`);
  }
  return parseManifest(Buffer.concat(manifest));
};

/** Replaces a folder by an archive's content, durable when it resolves; repeating it gives the same. */
export const unpackArchive = async (
  path: string,
  folder: string,
  signal: AbortSignal,
  quota: ArchiveQuota = defaultArchiveQuota,
): Promise<void> => {
  const guard = new EntryGuard(quota);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const unpack = new Unpack({
    cwd: folder,
    strict: true,
    preserveOwner: false,
    chmod: true,
    processUmask: 0o022,
    // Checked a second time: the file may not be the one that was looked through.
    filter: (_, entry) => {
      const fault = 'header' in entry ? guard.faultOf(entry) : null;
      if (fault !== null) unpack.abort(refused(fault));
      return fault === null;
    },
  });
  await feed(path, unpack, signal);
  await syncTree(folder);
  await syncPath(dirname(folder));
};

/** The archive goes in chunk by chunk, so that a bomb is noticed while it is small. */
const feed = async (path: string, parser: TarParser, signal: AbortSignal): Promise<void> => {
  let failure: Error | null = null;
  const ended = new Promise<void>((resolve) => {
    parser.on(parser instanceof Unpack ? 'close' : 'end', resolve);
    parser.on('error', (error: Error) => {
      failure ??= error;
      resolve();
    });
  });
  const failed = () => failure as Error | null;
  try {
    for await (const chunk of createReadStream(path, { signal })) {
      if (failed() !== null) break;
      if (!parser.write(chunk as Buffer)) {
        await Promise.race([new Promise<void>((resolve) => parser.once('drain', resolve)), ended]);
      }
    }
    if (failed() === null) {
      parser.end();
      await ended;
    }
  } catch (error) {
    failure ??= error instanceof Error ? error : new Error(messageOf(error));
  }
  signal.throwIfAborted();
  const final = failed();
  if (final === null) return;
  if (isHoldfastError(final)) throw final;
  throw new HoldfastError('UPDATE_ARCHIVE_REFUSED', `The archive is refused: ${final.message}`, {
    cause: final,
  });
};

const plainName = (path: string): string => path.replace(/^\.\//, '').replace(/\/$/, '');

/** Counts what an archive declares and says what is wrong with an entry. */
class EntryGuard {
  readonly #quota: ArchiveQuota;
  #entries = 0;
  #bytes = 0;

  constructor(quota: ArchiveQuota) {
    this.#quota = quota;
  }

  faultOf(entry: ReadEntry): string | null {
    this.#entries += 1;
    this.#bytes += entry.size;
    if (this.#entries > this.#quota.maxEntries) return 'it has too many entries';
    if (this.#bytes > this.#quota.maxBytes) return 'it is too large unpacked';
    if (!['File', 'OldFile', 'ContiguousFile', 'Directory'].includes(entry.type)) {
      return `${JSON.stringify(entry.path)} is a ${entry.type}`;
    }
    const name = plainName(entry.path);
    const isTop = (name === '' || name === '.') && entry.type === 'Directory';
    const isPlain = name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
    const hasOddCharacter = /[\\\0]/.test(name);
    return isTop || (isPlain && !hasOddCharacter && name.length <= 1_024)
      ? null
      : `the name ${JSON.stringify(entry.path.slice(0, 100))} is not allowed`;
  }
}

const refused = (why: string) =>
  new HoldfastError('UPDATE_ARCHIVE_REFUSED', `The archive is refused: ${why}`);
