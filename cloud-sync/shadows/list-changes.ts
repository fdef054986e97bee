/**
 * Reads the history of shadows, the newest first. Every step is by an index; what a filter leaves out is read past, some rows a request
 * at most, so a page may hold fewer than were asked for although another follows.
 */
import { changesBelow, type LeafChange } from '@holdfast/protos/semantics/shadow-history';
import type { Kysely, Selectable } from 'kysely';
import type { Schema } from '../store/schema.js';

export type ChangeRow = Omit<Selectable<Schema['shadow_changes']>, 'changes'> & {
  readonly changes: readonly LeafChange[];
};

export interface ChangeFilter {
  readonly site: string;
  readonly device?: string | undefined;
  readonly shadow?: string | undefined;
  /** Epoch ms by the clock here: at or after the one, before the other. */
  readonly start?: number | undefined;
  readonly end?: number | undefined;
  /** Empty: everything. */
  readonly path: readonly string[];
  /** Empty, a whole writer, or a kind of them as `site`. */
  readonly writer: string;
  /** With a shadow: after the one version, up to and with the other. */
  readonly afterVersion?: number | undefined;
  readonly untilVersion?: number | undefined;
}

export interface ChangePage {
  readonly rows: readonly ChangeRow[];
  /** The position that was come to; undefined at the end. */
  readonly next: number | undefined;
}

export const listChanges = async (
  db: Kysely<Schema>,
  filter: ChangeFilter,
  { before, limit }: { readonly before: number | undefined; readonly limit: number },
): Promise<ChangePage> => {
  const range = await positionsOf(db, filter);
  let next = Math.min(before ?? Number.MAX_SAFE_INTEGER, range.below);
  const rows: ChangeRow[] = [];
  for (let looked = 0; looked < mostLookedAt; looked += rowsAtOnce) {
    let query = db
      .selectFrom('shadow_changes')
      .selectAll()
      .where('site_id', '=', filter.site)
      // No lower bound: with both, SQLite would rather read everything of the site than what is of the device.
      .where('position', '<', next);
    if (filter.device !== undefined) query = query.where('device_id', '=', filter.device);
    const found = await query.orderBy('position', 'desc').limit(rowsAtOnce).execute();
    for (const row of found) {
      if (row.position <= range.above || isBeforeRange(row, filter)) {
        return { rows, next: undefined };
      }
      const changes = matchingChanges(row, filter);
      if (changes !== undefined) {
        if (rows.length === limit) return { rows, next };
        rows.push({ ...row, changes });
      }
      next = row.position;
    }
    if (found.length < rowsAtOnce) return { rows, next: undefined };
  }
  return { rows, next };
};

/** Rows for one request, whatever its filter leaves out. */
const mostLookedAt = 5_000;
const rowsAtOnce = 500;

/** A range of times as one of positions: where the clock here was set back meanwhile, the order of the commits counts. */
const positionsOf = async (db: Kysely<Schema>, { site, start, end }: ChangeFilter) => {
  const query = db.selectFrom('shadow_changes').select('position').where('site_id', '=', site);
  const first =
    start === undefined
      ? undefined
      : await query
          .where('at', '<', start)
          .orderBy('at', 'desc')
          .orderBy('position', 'desc')
          .limit(1)
          .executeTakeFirst();
  const last =
    end === undefined
      ? undefined
      : await query
          .where('at', '>=', end)
          .orderBy('at')
          .orderBy('position')
          .limit(1)
          .executeTakeFirst();
  return { above: first?.position ?? 0, below: last?.position ?? Number.MAX_SAFE_INTEGER };
};

type StoredRow = Selectable<Schema['shadow_changes']>;

/** A shadow's versions never go back, so nothing of it that is older matches either. */
const isBeforeRange = (row: StoredRow, { shadow, afterVersion }: ChangeFilter): boolean =>
  afterVersion !== undefined && row.shadow === shadow && row.version < afterVersion;

/** Undefined where the filter leaves it out. */
const matchingChanges = (
  row: StoredRow,
  filter: ChangeFilter,
): readonly LeafChange[] | undefined => {
  const { shadow, writer, path, afterVersion, untilVersion } = filter;
  if (shadow !== undefined && row.shadow !== shadow) return undefined;
  if (writer !== '' && row.writer !== writer && !row.writer.startsWith(`${writer}:`)) {
    return undefined;
  }
  // A deletion has the version that it deleted, and came after it.
  const step = row.version + row.is_deletion / 2;
  if (step <= (afterVersion ?? -1)) return undefined;
  if (step > (untilVersion ?? Number.POSITIVE_INFINITY)) return undefined;
  const changes = leavesOf(row);
  const below = changesBelow(path, changes);
  return below.length === 0 && path.length > 0 ? undefined : below;
};

/** `ShadowHistory` wrote it. */
export const leavesOf = ({ changes }: Pick<StoredRow, 'changes'>): readonly LeafChange[] =>
  JSON.parse(changes) as readonly LeafChange[];
