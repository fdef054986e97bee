/**
 * A database file with a schema of ours: migrated forward on open, refused when a newer program wrote it, put aside and made anew
 * when it is damaged.
 */
import { randomBytes } from 'node:crypto';
import { HoldfastError, isHoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { CommitQueue, type CommitQueueOptions } from './commit-queue.js';
import {
  checkNeeded,
  checkWhole,
  clearRebuilt,
  clearSuspect,
  markSuspect,
  putAside,
  type Rebuilt,
  readRebuilt,
} from './damage.js';
import { type Database, openDatabase } from './database.js';
import { type Migration, migrate } from './migrate.js';
import type { Statement } from './write.js';

export type { Migration } from './migrate.js';

/** The part of a logger (pino's signature) that the store uses. */
export interface StoreLog {
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
  error(data: object, message: string): void;
}

export interface StoreOptions {
  readonly path: string;
  readonly migrations: readonly Migration[];
  readonly log: StoreLog;
  readonly now?: () => number;
  /** Told once when the file turns out damaged while in use. Writes fail from then on; the next open checks the whole file. */
  readonly onDamage?: (error: HoldfastError) => void;
  readonly commits?: CommitQueueOptions;
}

/** To be committed with the owner's report: until then every open says that the file was made anew. */
export const rebuiltReported: Statement = {
  sql: "DELETE FROM store_meta WHERE key = 'rebuilt'",
};

export interface Store {
  /** A connection that only reads: sees what is committed. */
  readonly read: Database;
  readonly commits: CommitQueue;
  /** 128 random bits in hexadecimal, drawn when the file was made or made anew. */
  readonly log: string;
  /** Set when this file was made in place of a damaged one, until the owner has reported it (`rebuiltReported`). */
  readonly rebuilt?: Rebuilt;
  /** Drains the commit queue and closes both connections. Idempotent. */
  close(): Promise<void>;
}

/** Opens or makes the file. STORE_VERSION_NEWER; STORE_UNAVAILABLE and STORE_FULL as the disk says. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { path, log, now = Date.now } = options;
  try {
    return await openSound(options);
  } catch (error) {
    if (!isHoldfastError(error, 'STORE_CORRUPT')) throw error;
    const reason = error.message;
    const movedTo = await putAside(path, reason, now());
    log.error({ path, reason, movedTo }, 'A damaged database was put aside and is made anew');
    return openSound(options);
  }
}

async function openSound(options: StoreOptions): Promise<Store> {
  const { path, migrations, log, now = Date.now } = options;
  // Once it is open, and once; before that, damage fails the open.
  let isListening = false;
  const onDamage = (error: HoldfastError): void => {
    if (!isListening) return;
    isListening = false;
    log.error({ path, reason: error.message }, 'The database is damaged');
    markSuspect(path, error.message).catch((cause: unknown) =>
      log.error({ path, reason: messageOf(cause) }, 'The damage could not be marked down'),
    );
    options.onDamage?.(error);
  };
  const check = await checkNeeded(path);
  const writer = await openDatabase({ path, onDamage });
  let read: Database | undefined;
  try {
    if (check !== undefined) await checkWhole(writer, check);
    await migrate(writer, migrations, now());
    const rebuilt = await recordRebuilt(writer, path);
    const logId = await drawLog(writer);
    await clearRebuilt(path);
    await clearSuspect(path);
    read = await openDatabase({ path, readOnly: true, onDamage });
    isListening = true;
    return makeStore({ writer, read, logId }, options.commits, rebuilt);
  } catch (error) {
    await read?.close();
    await writer.close();
    throw error;
  }
}

function makeStore(
  parts: { writer: Database; read: Database; logId: string },
  queueOptions: CommitQueueOptions | undefined,
  rebuilt: Rebuilt | undefined,
): Store {
  const { writer, read, logId } = parts;
  const commits = new CommitQueue(writer, queueOptions);
  const closeAll = async (): Promise<void> => {
    await commits.close();
    await read.close();
    // The last one: it empties the WAL and removes it, by which the next open knows of a clean stop.
    await writer.close();
  };
  let closing: Promise<void> | undefined;
  return {
    read,
    commits,
    log: logId,
    ...(rebuilt === undefined ? {} : { rebuilt }),
    close: () => (closing ??= closeAll()),
  };
}

/** Before the log is drawn, by which a file is known to be new. */
async function recordRebuilt(writer: Database, path: string): Promise<Rebuilt | undefined> {
  const known = await writer.get<{ key: string }>("SELECT key FROM store_meta WHERE key = 'log'");
  const left = known === undefined ? await readRebuilt(path) : undefined;
  if (left !== undefined) {
    await writer.run("INSERT OR REPLACE INTO store_meta (key, value) VALUES ('rebuilt', ?)", [
      JSON.stringify(left),
    ]);
  }
  const row = await writer.get<{ value: string }>(
    "SELECT value FROM store_meta WHERE key = 'rebuilt'",
  );
  // Only the lines above write it.
  return row === undefined ? undefined : (JSON.parse(row.value) as Rebuilt);
}

async function drawLog(writer: Database): Promise<string> {
  await writer.run("INSERT OR IGNORE INTO store_meta (key, value) VALUES ('log', ?)", [
    randomBytes(16).toString('hex'),
  ]);
  const row = await writer.get<{ value: string }>("SELECT value FROM store_meta WHERE key = 'log'");
  if (row === undefined) throw new HoldfastError('INTERNAL', `${writer.path} has no log`);
  return row.value;
}
