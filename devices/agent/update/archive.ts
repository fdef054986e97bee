/**
 * Archives (`.tar`, `.tar.gz`): looked through whole before anything of them is written, then unpacked.
 *
 * An archive holds plain files and folders with plain names and nothing else. Refused: links of either kind, devices, pipes, absolute
 * names and `..`, names twice or beyond what is usual, more entries or bytes than the quota, what expands beyond measure, anything
 * damaged or cut off. Errors: `UPDATE_ARCHIVE_REFUSED`, `UPDATE_MANIFEST_INVALID`.
 */
import { createReadStream } from 'node:fs';
import { mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { type ReadEntry, Parser as TarParser, Unpack } from 'tar';
import { type AppManifest, manifestName, maxManifestBytes, parseManifest } from './app-manifest.js';
import { type ArchiveQuota, defaultArchiveQuota, EntryGuard, plainName } from './archive-quota.js';
import { syncPath, syncTree } from './sync-tree.js';

export interface ArchiveOptions {
  readonly quota?: ArchiveQuota;
  /** Percent of the archive's bytes. */
  readonly onProgress?: (percent: number) => void;
}

/** Reads the whole archive, writes nothing, and gives the names of its files. */
export const listArchive = async (
  path: string,
  signal: AbortSignal,
  options: ArchiveOptions = {},
): Promise<ReadonlySet<string>> => {
  const files = new Set<string>();
  await look(path, signal, options, (entry) => {
    if (entry.type !== 'Directory') files.add(plainName(entry.path));
    entry.resume();
  });
  return files;
};

/** Reads the whole archive of an application, writes nothing, and gives its manifest. */
export const inspectArchive = async (
  path: string,
  signal: AbortSignal,
  options: ArchiveOptions = {},
): Promise<AppManifest> => {
  const manifest: Buffer[] = [];
  await look(path, signal, options, (entry) => {
    if (plainName(entry.path) === manifestName && entry.size <= maxManifestBytes) {
      entry.on('data', (chunk) => manifest.push(Buffer.from(chunk)));
    } else entry.resume();
  });
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
  options: ArchiveOptions = {},
): Promise<void> => {
  const guard = new EntryGuard(options.quota ?? defaultArchiveQuota);
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
      if (!('header' in entry)) return true;
      const fault = guard.faultOf(entry);
      if (fault !== null) unpack.abort(refused(fault));
      // Nothing of an archive becomes somebody else by being run.
      if (entry.mode !== undefined) entry.mode &= 0o777;
      return fault === null;
    },
  });
  await feed(path, unpack, guard, signal, options);
  await syncTree(folder);
  await syncPath(dirname(folder));
};

const look = async (
  path: string,
  signal: AbortSignal,
  options: ArchiveOptions,
  take: (entry: ReadEntry) => void,
): Promise<void> => {
  const guard = new EntryGuard(options.quota ?? defaultArchiveQuota);
  const parser = new TarParser({
    strict: true,
    onReadEntry: (entry) => {
      const fault = guard.faultOf(entry);
      if (fault === null) take(entry);
      else {
        parser.abort(refused(fault));
        entry.resume();
      }
    },
  });
  await feed(path, parser, guard, signal, options);
};

/** The archive goes in chunk by chunk, counted as it expands, so that a bomb is noticed while it is small. */
const feed = async (
  path: string,
  parser: TarParser,
  guard: EntryGuard,
  signal: AbortSignal,
  { onProgress }: ArchiveOptions,
): Promise<void> => {
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
    const { size } = await stat(path);
    const source = createReadStream(path);
    let isFirst = true;
    const take = async (expanded: AsyncIterable<Buffer>): Promise<void> => {
      for await (const chunk of expanded) {
        const fault =
          isFirst && isGzipStart(chunk)
            ? 'it is compressed twice'
            : guard.faultOfBytes(chunk.length, source.bytesRead);
        isFirst = false;
        if (fault !== null) parser.abort(refused(fault));
        if (failed() !== null) return;
        if (!parser.write(chunk)) {
          const drained = new Promise<void>((resolve) => parser.once('drain', resolve));
          await Promise.race([drained, ended]);
        }
        onProgress?.((source.bytesRead * 100) / size);
      }
      if (failed() !== null) return;
      parser.end();
      await ended;
    };
    await ((await isGzip(path))
      ? pipeline(source, createGunzip(), take, { signal })
      : pipeline(source, take, { signal }));
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

const isGzip = async (path: string): Promise<boolean> => {
  const file = await open(path, 'r');
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0);
    return isGzipStart(buffer);
  } finally {
    await file.close();
  }
};

const isGzipStart = (bytes: Buffer): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

const refused = (why: string) =>
  new HoldfastError('UPDATE_ARCHIVE_REFUSED', `The archive is refused: ${why}`);
