/** The site's conflicts as rows of site.db: the open ones, and for a while those that are settled. */
import { createHash } from 'node:crypto';
import type {
  ConflictKept,
  ConflictSettlement,
} from '@holdfast/protos/semantics/conflict-settlement';
import { isAlong } from '@holdfast/protos/semantics/path-index';
import {
  conflictsOf,
  idOf,
  type ShadowConflict,
  type ShadowOperation,
  type ShadowState,
} from '@holdfast/protos/semantics/shadow-merge';
import { compareStamps } from '@holdfast/protos/semantics/shadow-stamp';
import type { Database } from '@holdfast/provisioning/storage/database';
import type { Statement } from '@holdfast/provisioning/storage/write';
import type { ShadowKey } from './stored-shadow.js';

/** A conflict as it is shown to people. */
export interface ListedConflict extends ShadowKey, ShadowConflict {
  /** What people name it by. */
  readonly conflictId: string;
  /** Epoch ms by the site's clock. */
  readonly detectedAt: number;
  /** Absent while it is open. */
  readonly settlement?: ListedSettlement;
}

export interface ListedSettlement {
  readonly kept: ConflictKept;
  /** The writer of what settled it; `policy` for a rule of the plan. */
  readonly by: string;
  /** Epoch ms by the site's clock. */
  readonly at: number;
}

export const conflictSchema = `
CREATE TABLE shadow_conflicts (
  device TEXT NOT NULL,
  name TEXT NOT NULL,
  id TEXT NOT NULL,
  detected_at INTEGER NOT NULL,
  conflict TEXT NOT NULL,
  PRIMARY KEY (device, name, id)
) STRICT;
`;

/** What people name a conflict by: the same at both ends. */
export const conflictIdOf = ({ loser }: Pick<ShadowConflict, 'loser'>): string =>
  hashOf(idOf(loser));

export interface ConflictFilter {
  readonly device?: string | undefined;
  /** Those that are settled as well. */
  readonly settled?: boolean | undefined;
  /** Of the last one on the page before. */
  readonly after?: ConflictPlace | undefined;
  readonly limit: number;
}

export interface ConflictPlace {
  readonly detectedAt: number;
  /** Of those that were found together. */
  readonly row: number;
}

export interface ConflictPage {
  readonly conflicts: readonly ListedConflict[];
  /** Absent on the last page. */
  readonly next?: ConflictPlace;
}

/** The site's conflicts, or a device's, oldest first. */
export const listConflicts = async (
  read: Database,
  { device, settled = false, after, limit }: ConflictFilter,
): Promise<ConflictPage> => {
  const rows = await read.all<ConflictRow>(
    `SELECT rowid AS row, device, name, id, detected_at, conflict, settled_at, settlement FROM shadow_conflicts
      WHERE (detected_at, rowid) > (?, ?)
        ${settled ? '' : 'AND settled_at IS NULL'} ${device === undefined ? '' : 'AND device = ?'}
      ORDER BY detected_at, rowid LIMIT ?`,
    [after?.detectedAt ?? -1, after?.row ?? 0, ...(device === undefined ? [] : [device]), limit],
  );
  const conflicts = rows.map(listedOf);
  const last = rows.at(-1);
  if (rows.length < limit || last === undefined) return { conflicts };
  return { conflicts, next: { detectedAt: last.detected_at, row: last.row } };
};

/** How many are open, by shadow, of a device. */
export const openConflicts = async (
  read: Database,
  device: string,
): Promise<ReadonlyMap<string, number>> => {
  const rows = await read.all<{ name: string; count: number }>(
    `SELECT name, COUNT(*) AS count FROM shadow_conflicts
      WHERE device = ? AND settled_at IS NULL GROUP BY name`,
    [device],
  );
  return new Map(rows.map(({ name, count }) => [name, count]));
};

export interface ConflictChanges {
  readonly statements: readonly Statement[];
  /** By how many rows there are more. */
  readonly added: number;
}

/**
 * What brings the rows from a shadow's conflicts as they were to what they are: those that came up, those whose winner is another now, and
 * those that ended. `forgotten` go. A deletion that won is forgotten by the shadow as soon as both ends have it; its row still names it.
 */
export const conflictChanges = (
  { device, name }: ShadowKey,
  before: ShadowState,
  after: ShadowState,
  {
    applied,
    settled,
    forgotten,
    now,
    trusted,
  }: {
    /** What was written between the two. */
    readonly applied: readonly ShadowOperation[];
    readonly settled: readonly ConflictSettlement[];
    /** Ids of losers. */
    readonly forgotten: ReadonlySet<string>;
    readonly now: number;
    /** Whether that is to be believed. */
    readonly trusted: boolean;
  },
): ConflictChanges => {
  if (before.lost.size + after.lost.size + settled.length === 0)
    return { statements: [], added: 0 };
  const was = byId(conflictsOf(before));
  const is = byId(conflictsOf(after));
  const ended = new Map(settled.map((one) => [idOf(one.conflict.loser), one]));
  const statements: Statement[] = [];
  let added = 0;
  for (const [id, found] of is) {
    const known = was.get(id);
    const conflict = withWinner(found, applied);
    if (known === undefined) added += 1;
    else if (conflict.winner === undefined || isSameWinner(known, conflict)) continue;
    statements.push(upsert({ device, name, id, conflict, now, trusted }));
  }
  for (const [id, { conflict: found, kept, by }] of ended) {
    if (is.has(id) || forgotten.has(id)) continue;
    const conflict = was.has(id) ? found : withWinner(found, applied);
    if (!was.has(id)) added += 1;
    const settlement = { kept, by: by?.stamp.writer ?? '' };
    statements.push(upsert({ device, name, id, conflict, now, trusted, settlement }));
  }
  for (const id of was.keys()) {
    if (is.has(id) || ended.has(id)) continue;
    added -= 1;
    statements.push(removal({ device, name }, id));
  }
  return { statements, added };
};

export const removal = ({ device, name }: ShadowKey, id: string): Statement => ({
  sql: 'DELETE FROM shadow_conflicts WHERE device = ? AND name = ? AND id = ?',
  params: [device, name, id],
});

interface ChangedRow extends ShadowKey {
  readonly id: string;
  readonly conflict: ShadowConflict;
  readonly now: number;
  readonly trusted: boolean;
  readonly settlement?: { readonly kept: ConflictKept; readonly by: string };
}

/** Of the age of a conflict: it is counted from when the time is known. */
export const timeUnknown = -1;

/** What won may have changed since; when it was noticed has not. */
const upsert = ({
  device,
  name,
  id,
  conflict,
  now,
  trusted,
  settlement,
}: ChangedRow): Statement => ({
  sql: `INSERT INTO shadow_conflicts (device, name, id, detected_at, since, conflict, settled_at, settlement)
      VALUES (?1, ?2, ?3, ?4, ?9, ?5, ?6, ?7)
    ON CONFLICT (device, name, id) DO UPDATE SET
      conflict = CASE WHEN ?8 THEN excluded.conflict ELSE shadow_conflicts.conflict END,
      settled_at = excluded.settled_at, settlement = excluded.settlement,
      since = CASE WHEN excluded.settled_at IS NULL THEN shadow_conflicts.since ELSE excluded.since END`,
  params: [
    ...[device, name, id, now, JSON.stringify(conflict)],
    ...(settlement === undefined ? [null, null] : [now, JSON.stringify(settlement)]),
    conflict.winner === undefined ? 0 : 1,
    trusted ? now : timeUnknown,
  ],
});

interface ConflictRow extends ShadowKey {
  readonly row: number;
  readonly id: string;
  readonly detected_at: number;
  readonly conflict: string;
  readonly settled_at: number | null;
  readonly settlement: string | null;
}

const listedOf = (row: ConflictRow): ListedConflict => ({
  device: row.device,
  name: row.name,
  conflictId: hashOf(row.id),
  detectedAt: row.detected_at,
  ...(JSON.parse(row.conflict) as ShadowConflict), // written above
  ...(row.settled_at === null || row.settlement === null
    ? {}
    : {
        settlement: {
          at: row.settled_at,
          ...(JSON.parse(row.settlement) as Omit<ListedSettlement, 'at'>), // likewise
        },
      }),
});

const hashOf = (id: string): string => createHash('sha256').update(id).digest('hex');

const byId = (conflicts: readonly ShadowConflict[]): Map<string, ShadowConflict> =>
  new Map(conflicts.map((conflict) => [idOf(conflict.loser), conflict]));

const withWinner = (
  conflict: ShadowConflict,
  applied: readonly ShadowOperation[],
): ShadowConflict => {
  const { winner, loser } = conflict;
  if (winner !== undefined) return conflict;
  const later = applied
    .filter(({ path, stamp }) => isAlong(path, loser.path) && compareStamps(stamp, loser.stamp) > 0)
    .sort((a, b) => compareStamps(b.stamp, a.stamp));
  const [newest] = later;
  return newest === undefined ? conflict : { ...conflict, winner: newest };
};

const isSameWinner = (a: ShadowConflict, b: ShadowConflict): boolean =>
  nameOf(a.winner) === nameOf(b.winner);

/** A winner that lost its value to a write below it is shown so. */
const nameOf = (winner: ShadowOperation | undefined): string =>
  winner === undefined ? '' : `${idOf(winner)}${winner.value === undefined ? '' : '='}`;
