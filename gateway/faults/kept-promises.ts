/** Compares what a gateway that was killed has on disk with what it had promised, before anybody starts it or sends again. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, openDatabase } from '@holdfast/provisioning/storage/database';
import { device } from './enrolled-site.js';
import { type Account, boot, countOf } from './site-load.js';

/** What was acknowledged and is not there, in words; empty when every promise is kept. */
export const findLost = async (folder: string, account: Account): Promise<string[]> => {
  const copy = await mkdtemp(join(tmpdir(), 'holdfast-found-'));
  try {
    // Of a copy: whoever opens the file takes its log over, and that is for the gateway to do.
    const site = await openCopy(folder, copy, 'site.db');
    const telemetry = await openCopy(folder, copy, 'telemetry.db');
    const lost = [
      ...(await lostPoints(telemetry, account)),
      ...(await lostUpdates(site, account)),
      ...(await lostEffects(site, account)),
      ...(await lostMessages(site, account)),
    ];
    await site.close();
    await telemetry.close();
    return lost;
  } finally {
    await rm(copy, { recursive: true });
  }
};

const openCopy = async (from: string, to: string, name: string): Promise<Database> => {
  await copyFile(join(from, name), join(to, name));
  const log = `${name}-wal`;
  await copyFile(join(from, log), join(to, log)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  const database = await openDatabase({ path: join(to, name) });
  const [check] = await database.all<{ quick_check: string }>('PRAGMA quick_check');
  if (check?.quick_check !== 'ok') throw new Error(`${name} is damaged: ${check?.quick_check}`);
  return database;
};

const missing = (what: string, owed: Iterable<number>, there: ReadonlySet<number>): string[] =>
  [...owed].filter((at) => !there.has(at)).map((at) => `${what} ${at}`);

const numbers = async (database: Database, sql: string, params: string[]): Promise<Set<number>> =>
  new Set((await database.all<{ n: number }>(sql, params)).map(({ n }) => n));

const lostPoints = async (database: Database, { promised }: Account): Promise<string[]> => {
  const sql = `SELECT body ->> 'seq' AS n FROM journal_telemetry WHERE body ->> 'boot' = ?`;
  return missing('point', promised.points, await numbers(database, sql, [boot]));
};

/** Of every update its journal entry, of the newest the leaves. */
const lostUpdates = async (database: Database, { promised }: Account): Promise<string[]> => {
  const told = await numbers(
    database,
    `SELECT operation.value ->> 'value' AS n
     FROM journal_state, json_each(body -> 'operations') AS operation
     WHERE kind = 'shadow' AND body ->> 'device' = ? AND operation.value -> 'path' = '["reported","count"]'`,
    [device],
  );
  const leaves = await database.all<{ section: string; n: number }>(
    `SELECT leaf.value ->> '$.path[0]' AS section, leaf.value ->> 'value' AS n
     FROM shadows, json_each(state -> 'leaves') AS leaf WHERE device = ?`,
    [device],
  );
  const newest = Math.max(-1, ...promised.updates);
  // What was under way may be there too; never what was before.
  const isKept = (section: string): boolean =>
    newest < 0 ||
    leaves.some((leaf) => leaf.section === section && countOf(leaf.section, leaf.n) >= newest);
  return [
    ...missing('journal entry of update', promised.updates, told),
    ...['reported', 'desired'].filter((section) => !isKept(section)).map((name) => `leaf ${name}`),
  ];
};

/** An answer that is not with the device yet waits: to be performed, or to be delivered. */
const lostEffects = async (
  database: Database,
  { promised, accepted }: Account,
): Promise<string[]> => {
  const waiting = await numbers(
    database,
    `SELECT CAST(body ->> '$.answer.clientToken' AS INTEGER) AS n FROM outbox WHERE kind = 'shadow_changed'
     UNION SELECT CAST(CAST(payload AS TEXT) ->> 'clientToken' AS INTEGER) FROM mqtt_queue WHERE topic = ?`,
    [`dt/${device}/shadow/update/accepted`],
  );
  const owed = [...promised.updates].filter((at) => !accepted.has(at));
  return missing('accepted', owed, waiting);
};

const lostMessages = async (
  database: Database,
  { promised, delivered }: Account,
): Promise<string[]> => {
  const retained = await database.all<{ topic: string; n: number }>(
    'SELECT topic, CAST(CAST(payload AS TEXT) AS INTEGER) AS n FROM mqtt_retained',
  );
  const lost = [...promised.retained].filter(
    ([topic, at]) => !retained.some((found) => found.topic === topic && found.n >= at),
  );
  const queued = await numbers(
    database,
    'SELECT CAST(CAST(payload AS TEXT) AS INTEGER) AS n FROM mqtt_queue WHERE topic LIKE ?',
    [`dt/${device}/for-later/%`],
  );
  const owed = [...promised.queued].filter((at) => !delivered.has(at));
  return [
    ...lost.map(([topic, at]) => `retained ${topic} ${at}`),
    ...missing('queued', owed, queued),
  ];
};
