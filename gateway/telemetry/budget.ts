/**
 * Keeps the telemetry file within its bytes: what the control plane has goes first, then the oldest that it has not, and each such
 * drop is told in the lane itself, at the place of what is missing. Drops that follow one another become one entry.
 *
 * Bytes are the pages in use, which SQLite counts itself. Freed pages stay in the file and are written again, so the file stops
 * growing; it does not shrink. What is sealed is under way, bounded by the link's window, and stays.
 */
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import type { CommitQueue } from '@holdfast/provisioning/storage/commit-queue';
import type { Database } from '@holdfast/provisioning/storage/database';
import type { Transaction } from '@holdfast/provisioning/storage/transaction';
import type { Clock } from '@holdfast/provisioning/time/clock';
import type { SealedLane } from '../link/sealed-lane.js';

export interface Budget {
  /** Bytes that telemetry may take. */
  readonly budgetBytes: number;
  /** Bytes that stay free on the disk for shadows and updates; below, telemetry gives way. By default 64 MiB. */
  readonly reserveBytes?: number;
}

/** Bytes free on the disk. */
export type DiskSpace = () => Promise<number>;

export interface BudgetDeps {
  readonly store: { readonly read: Database; readonly commits: CommitQueue };
  readonly lane: SealedLane;
  readonly clock: Clock;
  readonly space: DiskSpace;
}

/** Entries taken out in one transaction at most: everybody's commits wait for it. */
const chunkEntries = 5_000;
const defaultReserveBytes = 64 * 1024 * 1024;
/** The part of the file that is used at most while the disk is low; the rest takes what comes until the next check. */
const withinFile = 0.8;
/** A file this small is not worth emptying, however full the disk. */
const leastBytes = 256 * 1024;

export const spaceOf =
  (path: string): DiskSpace =>
  async () => {
    const { bavail, bsize } = await statfs(dirname(path));
    return bavail * bsize;
  };

/** Drops until everything fits; returns how many points were lost to the control plane. */
export const keepWithin = async (deps: BudgetDeps, budget: Budget): Promise<{ points: number }> => {
  let points = 0;
  const { used, file } = await bytesOf(deps.store.read);
  const isLow = (await deps.space()) < (budget.reserveBytes ?? defaultReserveBytes);
  // Freed pages do not go back to the disk: to leave it alone is to live within the file there is.
  const forDisk = isLow ? Math.max(leastBytes, file * withinFile) : Number.MAX_SAFE_INTEGER;
  const limit = Math.min(budget.budgetBytes, forDisk);
  const reason = forDisk < budget.budgetBytes ? 'disk_low' : 'budget';
  if (used <= limit) return { points };
  // A little more than needed, so that the next points do not bring the next drop.
  const goal = limit * 0.95;
  for (;;) {
    const { used: now } = await bytesOf(deps.store.read);
    if (now <= goal) return { points };
    const entries = Math.min(chunkEntries, await entriesIn(deps.store.read, now, now - goal));
    const dropped = await dropOldest(deps, entries, reason);
    if (!dropped) return { points };
    points += dropped.points;
  }
};

/** Takes out the oldest entries; undefined when there are none that may go. */
const dropOldest = async (
  { store, lane, clock }: BudgetDeps,
  entries: number,
  reason: string,
): Promise<{ points: number } | undefined> => {
  if ((await lane.pruneSome(lane.acknowledged, entries)) > 0) return { points: 0 };
  return lane.exclusively(() =>
    store.commits.transact((tx) =>
      dropUnsent(tx, Math.max(lane.sealed.seq, lane.acknowledged), entries, reason, clock.now()),
    ),
  );
};

interface RangeRow {
  first: number | null;
  last: number | null;
  entries: number;
  points: number;
  dropped: number;
  oldest: number | null;
}

const dropUnsent = async (
  tx: Transaction,
  after: number,
  entries: number,
  reason: string,
  at: number,
): Promise<{ points: number } | undefined> => {
  const range = await tx.get<RangeRow>(
    `SELECT min(seq) AS first, max(seq) AS last, count(*) AS entries, total(kind = 'point') AS points,
       total(CASE kind WHEN 'dropped' THEN body ->> 'points' END) AS dropped,
       min(CASE kind WHEN 'dropped' THEN body ->> 'from' END) AS oldest
     FROM (SELECT seq, kind, body FROM journal_telemetry WHERE seq > ? ORDER BY seq LIMIT ?)`,
    [after, entries],
  );
  if (!range || range.first === null || range.last === null) return undefined;
  if (range.points === 0 && range.entries < 2) return undefined;
  const from = Math.min(range.first, range.oldest ?? range.first);
  const body = { from, to: range.last, points: range.points + range.dropped, reason };
  await tx.run('DELETE FROM journal_telemetry WHERE seq > ? AND seq < ?', [after, range.last]);
  await tx.run(`UPDATE journal_telemetry SET at = ?, kind = 'dropped', body = ? WHERE seq = ?`, [
    at,
    canonicalJson(body),
    range.last,
  ]);
  return { points: range.points };
};

/** What is used of the file, and the file. */
const bytesOf = async (database: Database): Promise<{ used: number; file: number }> => {
  const row = await database.get<{ used: number; file: number }>(
    `SELECT (page_count - freelist_count) * page_size AS used, page_count * page_size AS file
     FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()`,
  );
  return row ?? { used: 0, file: 0 };
};

/** About how many of the oldest entries take so many bytes, by the average entry. */
const entriesIn = async (database: Database, used: number, bytes: number): Promise<number> => {
  const row = await database.get<{ entries: number | null }>(
    'SELECT max(seq) - min(seq) + 1 AS entries FROM journal_telemetry',
  );
  return Math.ceil(((row?.entries ?? 0) * bytes) / used) + 1;
};
