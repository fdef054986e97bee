/** What changed in shadows as rows of site.db: one for each writer of a commit. */

import { changesBetween, type LeafChange } from '@holdfast/protos/semantics/shadow-history';
import type { ShadowOperation } from '@holdfast/protos/semantics/shadow-merge';
import { type Append, appendTable } from '@holdfast/provisioning/storage/write';
import type { ShadowKey, StoredShadow } from './stored-shadow.js';

/**
 * A position in one shadow's history: versions never go back, and what has the same version (several writers of one commit, a deletion
 * and what it deleted) is in the order of its rows.
 */
export interface HistoryPosition {
  readonly version: number;
  readonly seq: number;
}

/** What one writer changed in one commit. */
export interface HistoryChange extends ShadowKey, HistoryPosition {
  /** By the site's clock, and whether that was to be believed. */
  readonly at: number;
  readonly trusted: boolean;
  readonly writer: string;
  /** Wall time of the stamp, where it was minted elsewhere. */
  readonly writtenAt: number | null;
  /** Whether the shadow was deleted. */
  readonly deleted: boolean;
  readonly changes: readonly LeafChange[];
}

/**
 * `lasting` rows touch what is desired: they outlive what devices merely report, of which there may be any amount. In
 * `shadow_history_begins`: what of a shadow's history went last. In `shadow_losses`: what went before its time.
 */
export const historySchema = `
CREATE TABLE shadow_changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  device TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  at INTEGER NOT NULL,
  trusted INTEGER NOT NULL,
  writer TEXT NOT NULL,
  written_at INTEGER,
  deleted INTEGER NOT NULL,
  lasting INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  changes TEXT NOT NULL
) STRICT;
CREATE INDEX shadow_changes_of_shadow ON shadow_changes (device, name, version, seq);
CREATE INDEX shadow_changes_by_age ON shadow_changes (lasting, at, seq, bytes);
CREATE TABLE shadow_history_begins (
  device TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;
INSERT INTO shadow_history_begins (device, name, version, seq) SELECT device, name, version, 0 FROM shadows;
CREATE TABLE shadow_losses (
  what TEXT PRIMARY KEY,
  count INTEGER NOT NULL,
  last_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;

const table = appendTable('shadow_changes', [
  ...['device', 'name', 'version', 'at', 'trusted', 'writer', 'written_at', 'deleted'],
  ...['lasting', 'bytes', 'changes'],
]);

/** What a row takes beside its changes, its indexes with it. */
const rowOverheadBytes = 250;

export interface HistoryAppends {
  readonly rows: readonly Append[];
  /** What they take of the quota. */
  readonly bytes: number;
}

/** The rows of a commit: none where nothing that is visible changed. */
export const historyAppends = (
  { device, name }: ShadowKey,
  before: StoredShadow,
  after: StoredShadow,
  operations: readonly ShadowOperation[],
  {
    now,
    trusted,
    replica,
  }: { readonly now: number; readonly trusted: boolean; readonly replica: string },
): HistoryAppends => {
  const deleted = before.exists && !after.exists;
  let bytes = 0;
  const rows = changesBetween(before.state, after.state, operations).map((change) => {
    const text = JSON.stringify(change.changes);
    const size = Buffer.byteLength(text) + rowOverheadBytes;
    bytes += size;
    const isLasting = change.changes.some(({ path }) => path[0] === 'desired');
    const isFromElsewhere = operations.some(
      ({ stamp }) => stamp.writer === change.writer && stamp.replica !== replica,
    );
    return {
      into: table,
      row: [
        ...[device, name, after.version, now, trusted ? 1 : 0, change.writer],
        ...[isFromElsewhere ? change.writtenAt : null, deleted ? 1 : 0],
        ...[isLasting ? 1 : 0, size, text],
      ],
    };
  });
  return { rows, bytes };
};

export interface HistoryRow extends ShadowKey, HistoryPosition {
  readonly at: number;
  readonly trusted: number;
  readonly writer: string;
  readonly written_at: number | null;
  readonly deleted: number;
  readonly changes: string;
}

export const historyColumns =
  'device, name, version, seq, at, trusted, writer, written_at, deleted, changes';

export const readChange = (row: HistoryRow): HistoryChange => ({
  device: row.device,
  name: row.name,
  version: row.version,
  seq: row.seq,
  at: row.at,
  trusted: row.trusted === 1,
  writer: row.writer,
  writtenAt: row.written_at,
  deleted: row.deleted === 1,
  changes: JSON.parse(row.changes) as LeafChange[], // written above
});

/** `7.1234`, or `7` for everything of that version. */
export const positionText = ({ version, seq }: HistoryPosition): string => `${version}.${seq}`;

/** Undefined for what is none. */
export const parsePosition = (text: string): HistoryPosition | undefined => {
  const [, version, seq] = /^(\d{1,15})(?:\.(\d{1,15}))?$/.exec(text) ?? [];
  if (version === undefined) return undefined;
  return {
    version: Number(version),
    seq: seq === undefined ? Number.MAX_SAFE_INTEGER : Number(seq),
  };
};

export const isBefore = (a: HistoryPosition, b: HistoryPosition): boolean =>
  a.version < b.version || (a.version === b.version && a.seq < b.seq);
