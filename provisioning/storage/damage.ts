/**
 * Finds out whether a database file is damaged, and puts one that is aside.
 *
 * A check reads the whole file, so it is made only with a reason: something failed as corrupt while in use (a mark was left), or the
 * file is small and was not closed cleanly. SQLite itself refuses a file whose header is none at the first statement.
 */
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Database } from './database.js';

/** Above this a file is not read through just because the power went away: WAL and FULL are made to survive that. */
const maxCheckedBytes = 256 * 1024 * 1024;

export type Check = 'quick_check' | 'integrity_check';

/** Which check the file needs before it is used; asked before it is opened. STORE_CORRUPT when the file itself is gone. */
export async function checkNeeded(path: string): Promise<Check | undefined> {
  const size = await sizeOf(path);
  const walSize = await sizeOf(`${path}-wal`);
  if (size === undefined && walSize !== undefined) {
    // What an interrupted `putAside` leaves; a new database must not take the journal for its own.
    throw new HoldfastError('STORE_CORRUPT', `${path} is missing, only its journal is there`);
  }
  if ((await sizeOf(suspectMark(path))) !== undefined) return 'integrity_check';
  // Closing the last connection removes the WAL, so one that holds something tells of a stop that was none.
  const wasCut = walSize !== undefined && walSize > 0;
  return wasCut && (size ?? 0) + walSize <= maxCheckedBytes ? 'quick_check' : undefined;
}

/** Reads the whole file. STORE_CORRUPT with the first fault it finds. */
export async function checkWhole(database: Database, check: Check): Promise<void> {
  const row = await database.get<Record<string, string>>(`PRAGMA ${check}(1)`);
  const answer = Object.values(row ?? {})[0];
  if (answer === 'ok') return;
  throw new HoldfastError('STORE_CORRUPT', `${check} of ${database.path}: ${answer}`);
}

/** Leaves word for the next open that this file failed as corrupt while in use. */
export const markSuspect = (path: string, reason: string): Promise<void> =>
  writeSynced(suspectMark(path), `${reason}\n`);

export const clearSuspect = (path: string): Promise<void> => rm(suspectMark(path), { force: true });

/** Why a damaged file was replaced, and where it lies now. */
export interface Rebuilt {
  readonly reason: string;
  readonly movedTo: string;
}

/** What the database that is made anew has to tell of the one before; undefined when there was none. */
export async function readRebuilt(path: string): Promise<Rebuilt | undefined> {
  const text = await readFile(rebuiltMark(path), 'utf8').catch(() => '');
  const [movedTo, ...reason] = text.split('\n');
  return movedTo ? { movedTo, reason: reason.join('\n') } : undefined;
}

export const clearRebuilt = (path: string): Promise<void> => rm(rebuiltMark(path), { force: true });

/**
 * Renames the file and its journals to `<file>.corrupt-<time>`, which SQLite can still open, and returns that name. The database goes
 * first: interrupted after that, `checkNeeded` sees a journal alone. Before that it leaves word for the database that takes its place:
 * the program may end before that one is made.
 */
export async function putAside(path: string, reason: string, now: number): Promise<string> {
  const time = new Date(now).toISOString().replaceAll(/[-:]/g, '');
  // One that was interrupted goes on under its own name.
  const begun = (await sizeOf(path)) === undefined ? await readRebuilt(path) : undefined;
  const movedTo = begun?.movedTo ?? `${path}.corrupt-${time}`;
  if (begun === undefined) await writeSynced(rebuiltMark(path), `${movedTo}\n${reason}`);
  for (const suffix of ['', '-wal', '-shm']) {
    if ((await sizeOf(path + suffix)) !== undefined) await rename(path + suffix, movedTo + suffix);
  }
  await clearSuspect(path);
  await syncFolderOf(path);
  return movedTo;
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'w');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncFolderOf(path);
}

async function syncFolderOf(path: string): Promise<void> {
  const folder = await open(dirname(path));
  await folder.sync().finally(() => folder.close());
}

const rebuiltMark = (path: string): string => `${path}.put-aside`;
const suspectMark = (path: string): string => `${path}.suspect`;

async function sizeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return found?.size;
}
