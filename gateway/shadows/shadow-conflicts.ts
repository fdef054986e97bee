import {
  conflictsOf,
  idOf,
  type ShadowConflict,
  type ShadowState,
} from '@holdfast/protos/semantics/shadow-merge';
import type { Database } from '@holdfast/provisioning/storage/database';
import type { Statement } from '@holdfast/provisioning/storage/write';
import type { ShadowKey } from './stored-shadow.js';

/** A conflict as it is shown to people. */
export interface ListedConflict extends ShadowKey, ShadowConflict {
  /** Epoch ms by the site's clock. */
  readonly detectedAt: number;
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

/** The site's conflicts, or a device's, oldest first. */
export const listConflicts = async (
  read: Database,
  device: string | undefined,
  limit: number,
): Promise<ListedConflict[]> => {
  const rows = await read.all<ConflictRow>(
    `SELECT device, name, detected_at, conflict FROM shadow_conflicts
      WHERE ?1 IS NULL OR device = ?1 ORDER BY detected_at, device, name, id LIMIT ?2`,
    [device ?? null, limit],
  );
  return rows.map(({ device, name, detected_at: detectedAt, conflict }) => ({
    device,
    name,
    detectedAt,
    ...(JSON.parse(conflict) as ShadowConflict), // written below
  }));
};

/** What brings the list to what a shadow's conflicts are now. */
export const conflictStatements = (
  { device, name }: ShadowKey,
  before: ShadowState,
  after: ShadowState,
  now: number,
): Statement[] => {
  if (before.lost.size + after.lost.size === 0) return [];
  const was = byId(conflictsOf(before));
  const is = byId(conflictsOf(after));
  const statements: Statement[] = [];
  for (const id of was.keys()) {
    if (is.has(id)) continue;
    statements.push({
      sql: 'DELETE FROM shadow_conflicts WHERE device = ? AND name = ? AND id = ?',
      params: [device, name, id],
    });
  }
  for (const [id, conflict] of is) {
    // What won may have changed since; when it was noticed has not.
    statements.push({
      sql: `INSERT INTO shadow_conflicts (device, name, id, detected_at, conflict) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (device, name, id) DO UPDATE SET conflict = excluded.conflict`,
      params: [device, name, id, now, JSON.stringify(conflict)],
    });
  }
  return statements;
};

interface ConflictRow extends ShadowKey {
  readonly detected_at: number;
  readonly conflict: string;
}

const byId = (conflicts: readonly ShadowConflict[]): Map<string, ShadowConflict> =>
  new Map(conflicts.map((conflict) => [idOf(conflict.loser), conflict]));
