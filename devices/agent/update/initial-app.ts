/** Installs what a device is delivered with, once, before anything was ever installed; repeated after a break, it does no harm. */

import { join } from 'node:path';
import type { StoredRecord } from '@holdfast/provisioning/storage/record';
import { digestOf } from '@holdfast/provisioning/transfer/file-digest';
import { inspectArchive, unpackArchive } from './archive.js';
import { KeptImages, keptImagesFolder } from './kept-images.js';
import type { UpdateState } from './update-state.js';

export const installInitialApp = async (
  record: StoredRecord<UpdateState>,
  directory: string,
  archive: string,
  signal: AbortSignal,
): Promise<void> => {
  const { active, slots, update } = record.data;
  if (active !== null || slots.a !== null || slots.b !== null || update.phase !== 'idle') return;
  const { version } = await inspectArchive(archive, signal);
  const sha256 = await digestOf(archive, signal);
  await unpackArchive(archive, join(directory, 'slots', 'a'), signal);
  await new KeptImages({ folder: keptImagesFolder(directory) }).keep(archive, sha256);
  await record.update((state) => ({
    ...state,
    active: 'a',
    slots: { a: { version, sha256, jobId: null }, b: null },
  }));
};
