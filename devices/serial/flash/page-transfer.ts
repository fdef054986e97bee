/**
 * Brings an image into flash that is read and written in pages, so that it may be cut at any point:
 *
 * 1. compare from the second page on, up to the first that differs (what an earlier attempt wrote stays);
 * 2. the first page, which holds the reset vector, gets jumps to the loader;
 * 3. write the rest, then read everything back, what was there already too: a page may have gone to a garbled address in front of it, in
 *    place of one that was as it should be;
 * 4. the first page gets its real bytes, and is read back.
 *
 * A page that does not read back starts the next round, from the comparing on.
 *
 * Errors: FLASH_VERIFY_FAILED after the last round, and whatever the memory throws.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { FlashImage } from '@holdfast/provisioning/firmware/flash/flash-image';
import type { FlashProgress, TransferOptions, TransferReport } from './loader-protocol.js';

export interface PageMemory {
  readonly pageBytes: number;
  /** `from the start`: the loader erases pages in their order whatever is written, so a run begins at page 0 and leaves none out. */
  readonly writesPages: 'anywhere' | 'from the start';
  readonly read: (address: number, bytes: number, signal: AbortSignal) => Promise<Buffer>;
  readonly write: (address: number, page: Buffer, signal: AbortSignal) => Promise<void>;
  /** A run of writes begins. */
  readonly begin: (signal: AbortSignal) => Promise<void>;
}

const rounds = 3;

export const transferPages = async (
  memory: PageMemory,
  { image, filler }: { readonly image: FlashImage; readonly filler: Buffer },
  { signal, onProgress }: TransferOptions,
): Promise<TransferReport> => {
  const { pageBytes } = memory;
  const pages = pagesOf(image, pageBytes);
  const [first = filler, ...rest] = pages;
  const totalBytes = image.bytes.length;
  const written = new Set<number>();
  const report = (): TransferReport => {
    const writtenBytes = Math.min(written.size * pageBytes, totalBytes);
    return { writtenBytes, keptBytes: totalBytes - writtenBytes };
  };
  const say = (stage: FlashProgress['stage'], page: number) =>
    onProgress?.({ stage, doneBytes: Math.min(page * pageBytes, totalBytes), totalBytes });
  const holds = async (index: number, expected: Buffer) =>
    expected.equals(await memory.read(index * pageBytes, pageBytes, signal));
  const write = (index: number, page: Buffer) => memory.write(index * pageBytes, page, signal);

  /** From the first of the rest that differs on: what an earlier attempt wrote is in front of it, and comparing costs as much as verifying. */
  const findDiffering = async (): Promise<number[]> => {
    for (const [index, page] of rest.entries()) {
      say('compare', index + 1);
      if (!(await holds(index + 1, page))) return indexes(index + 1, pages.length);
    }
    return [];
  };

  for (let round = 1; round <= rounds; round += 1) {
    say('compare', 0);
    const differing = await findDiffering();
    const start = await memory.read(0, pageBytes, signal);
    if (differing.length === 0 && first.equals(start)) return report();

    await memory.begin(signal);
    const inOrder = memory.writesPages === 'from the start';
    if (differing.length > 0) {
      const toWrite = inOrder ? indexes(1, pages.length) : differing;
      if (inOrder || !filler.equals(start)) await write(0, filler);
      if (!(await holds(0, filler))) continue;
      for (const [done, index] of toWrite.entries()) {
        say('write', pages.length - toWrite.length + done);
        written.add(index);
        await write(index, pages[index] ?? filler);
      }
      let isSound = true;
      for (const [index, page] of rest.entries()) {
        say('verify', index + 1);
        isSound = (await holds(index + 1, page)) && isSound;
      }
      if (!isSound) continue;
      await memory.begin(signal);
      // A loader that takes a new run for the end of all pages must not be given a first one.
      const last = pages.length - 1;
      if (inOrder && !(await holds(last, pages[last] ?? filler))) continue;
    }
    written.add(0);
    say('write', pages.length - 1);
    await write(0, first);
    say('verify', pages.length);
    if (await holds(0, first)) return report();
  }
  // Better no application than one that is half there.
  await memory.begin(signal);
  await write(0, filler);
  throw new HoldfastError(
    'FLASH_VERIFY_FAILED',
    `A page still reads otherwise than it was written, after ${rounds} rounds; the flash may be worn out or locked`,
  );
};

const pagesOf = (image: FlashImage, pageBytes: number): Buffer[] =>
  indexes(0, Math.ceil(image.bytes.length / pageBytes)).map((index) => {
    const page = Buffer.alloc(pageBytes, 0xff);
    image.bytes.copy(page, 0, index * pageBytes, (index + 1) * pageBytes);
    return page;
  });

const indexes = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);
