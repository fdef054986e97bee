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

interface DiskWrite {
  readonly offset: number;
  readonly data: Uint8Array;
  /** Written past the cache (FUA). */
  readonly isForced: boolean;
}

const magic = 0x6a736677736872n;
const isFlush = 1n;
const isFua = 2n;
const isDiscard = 4n;
/** What of a write stays or goes as a whole: no disk writes less than a sector, and this one has 4 KiB. */
const pieceBytes = 4096;

export const cutPower = async (
  images: { readonly before: string; readonly log: string; readonly after: string },
  random: () => number,
): Promise<Cut> => {
  const { writes, flushed } = parseWriteLog(await readFile(images.log));
  await copyFile(images.before, images.after);
  const image = await open(images.after, 'r+');
  let dropped = 0;
  try {
    for (const [index, { offset, data, isForced }] of writes.entries()) {
      for (let at = 0; at < data.length; at += pieceBytes) {
        if (index >= flushed && !isForced && random() < 0.5) {
          dropped += 1;
          continue;
        }
        const piece = data.subarray(at, at + pieceBytes);
        await image.write(piece, 0, piece.length, offset + at);
      }
    }
  } finally {
    await image.close();
  }
  return { writes: writes.length, unflushed: writes.length - flushed, dropped };
};

/** The writes in order, and how many of them the last flush covers. Its number of entries is not used: it is brought up to date rarely. */
export const parseWriteLog = (log: Buffer): { writes: DiskWrite[]; flushed: number } => {
  if (log.readBigUInt64LE(0) !== magic) throw new Error('this is no log of writes');
  const sectorBytes = log.readUInt32LE(24);
  const writes: DiskWrite[] = [];
  let flushed = 0;
  for (let at = sectorBytes; at + 32 <= log.length; ) {
    const offset = Number(log.readBigUInt64LE(at)) * sectorBytes;
    const dataBytes = Number(log.readBigUInt64LE(at + 8)) * sectorBytes;
    const flags = log.readBigUInt64LE(at + 16);
    if (dataBytes === 0 && flags === 0n) break;
    at += sectorBytes;
    if (flags & isFlush) flushed = writes.length;
    if (dataBytes === 0 || flags & isDiscard) continue;
    const data = log.subarray(at, at + dataBytes);
    writes.push({ offset, data, isForced: (flags & isFua) !== 0n });
    at += dataBytes;
  }
  return { writes, flushed };
};
