/**
 * One program at a time on a data folder: two on the same files would each believe that what they hold in memory is what is stored. The
 * lock is one of SQLite's, which the system takes back however a program ends.
 */
import { join } from 'node:path';
import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { openDatabase } from './database.js';

export interface FolderLock {
  /** Idempotent. */
  close(): Promise<void>;
}

/** Long enough for the one before to end, as when a program is started again. */
const defaultWaitMs = 5_000;

/** Takes the folder, which must exist; under another name, for one thing that is done in it. Errors: STORE_IN_USE when another program keeps it for longer than `waitMs`. */
export const lockFolder = async (
  folder: string,
  {
    waitMs = defaultWaitMs,
    name = 'lock',
  }: { readonly waitMs?: number; readonly name?: string } = {},
): Promise<FolderLock> => {
  try {
    const database = await openDatabase({ path: join(folder, name), busyTimeoutMs: waitMs });
    try {
      await database.exec('BEGIN EXCLUSIVE');
      return database;
    } catch (error) {
      await database.close();
      throw error;
    }
  } catch (error) {
    if (!isHoldfastError(error) || error.data.sqlite !== 'SQLITE_BUSY') throw error;
    throw new HoldfastError(
      'STORE_IN_USE',
      `Another program uses ${folder}: end that one first, or choose another folder with --data`,
      { cause: error },
    );
  }
};
