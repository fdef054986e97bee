/**
 * A disk with a volatile write cache: QEMU's `blklogwrites` notes every write and every flush; after a power cut the image is made
 * again from what it was, everything up to the last flush, and of what came later the half that luck picks.
 *
 * The log's format is that of Linux's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst): a superblock, then for
 * each operation one sector that says what it is, and its data.
 */
import { copyFile, open, readFile } from 'node:fs/promises';

export interface Cut {
  readonly writes: number;
  /** Writes that no flush had followed. */
  readonly unflushed: number;
  /** Pieces of these that are gone. */
  readonly dropped: number;
}

/** A write, a flush, or both in one: then the flush comes first. */
interface DiskOperation {
  readonly offset: number;
  readonly data: Uint8Array;
  readonly isFlush: boolean;
  /** Written past the cache (FUA). */
  readonly isForced: boolean;
}

export type WriteLog = readonly DiskOperation[];

const magic = 0x6a736677736872n;
const flush = 1n;
const fua = 2n;
const discard = 4n;
/** What of a write stays or goes as a whole: no disk writes less than a sector, and this one has 4 KiB. */
const pieceBytes = 4096;

/** The disk as it is found when the power goes after the first `position` operations of the log. */
export const cutPower = async (
  images: { readonly before: string; readonly after: string },
  log: WriteLog,
  position: number,
  random: () => number,
): Promise<Cut> => {
  const happened = log.slice(0, position);
  const flushed = happened.findLastIndex(({ isFlush }) => isFlush);
  const cut = { writes: 0, unflushed: 0, dropped: 0 };
  await copyFile(images.before, images.after);
  const image = await open(images.after, 'r+');
  try {
    for (const [index, { offset, data, isForced }] of happened.entries()) {
      if (data.length === 0) continue;
      const isSafe = index < flushed || isForced;
      cut.writes += 1;
      if (!isSafe) cut.unflushed += 1;
      for (let at = 0; at < data.length; at += pieceBytes) {
        const piece = data.subarray(at, at + pieceBytes);
        if (isSafe || random() >= 0.5) await image.write(piece, 0, piece.length, offset + at);
        else cut.dropped += 1;
      }
    }
  } finally {
    await image.close();
  }
  return cut;
};

/** Reads a log, also one that is still written: its superblock's number of entries is not used, it is brought up to date rarely. */
export const readWriteLog = async (file: string): Promise<WriteLog> => {
  const log = await readFile(file);
  if (log.readBigUInt64LE(0) !== magic) throw new Error('this is no log of writes');
  const sectorBytes = log.readUInt32LE(24);
  const operations: DiskOperation[] = [];
  for (let at = sectorBytes; at + 32 <= log.length; ) {
    const offset = Number(log.readBigUInt64LE(at)) * sectorBytes;
    const dataBytes = Number(log.readBigUInt64LE(at + 8)) * sectorBytes;
    const flags = log.readBigUInt64LE(at + 16);
    if (dataBytes === 0 && flags === 0n) break;
    at += sectorBytes;
    const isDiscarding = (flags & discard) !== 0n;
    const data = isDiscarding ? log.subarray(0, 0) : log.subarray(at, at + dataBytes);
    operations.push({
      offset,
      data,
      isFlush: (flags & flush) !== 0n,
      isForced: (flags & fua) !== 0n,
    });
    at += data.length;
  }
  return operations;
};
