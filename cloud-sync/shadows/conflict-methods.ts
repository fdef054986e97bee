/** The methods about conflicts: they are listed, and settled by an ordinary write that knows both sides. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { ConflictKeep, type ShadowsService } from '@holdfast/protos/gen/holdfast/v1/shadows';
import {
  type ConflictKeep as Keep,
  settlementEdit,
} from '@holdfast/protos/semantics/conflict-settlement';
import type { ShadowLimits } from '@holdfast/protos/semantics/shadow-limits';
import { conflictsOf } from '@holdfast/protos/semantics/shadow-merge';
import type { Kysely } from 'kysely';
import { writerOf } from '../api/caller.js';
import { parseDeviceName, parseName } from '../api/resource-name.js';
import type { Handlers } from '../api/service.js';
import type { DeviceKey } from '../devices/device-records.js';
import { requireSite } from '../sites/site-records.js';
import { cutPage, readPage } from '../store/page.js';
import type { Schema } from '../store/schema.js';
import { type ChangeShadowDependencies, changeShadow } from './change-shadow.js';
import { type ConflictRow, conflictId } from './conflict-records.js';
import { checkGrowth } from './shadow-limits.js';
import { conflictMessage, parseConflictName } from './shadow-messages.js';
import type { ShadowKey } from './shadow-records.js';
import {
  type ShadowChange,
  type ShadowReplica,
  type WriteContext,
  writeSettlement,
} from './shadow-replica.js';

type ConflictMethods = Pick<Handlers<typeof ShadowsService>, 'listConflicts' | 'settleConflict'>;

export const conflictMethods = (
  deps: ChangeShadowDependencies & { readonly limits: ShadowLimits },
): ConflictMethods => {
  const { engine, limits } = deps;
  const { read } = engine;
  return {
    listConflicts: async (request) => {
      const parent = parseConflictsParent(request.parent);
      const { includeSettled } = request;
      const scope = `conflicts of ${request.parent}${includeSettled ? ', all' : ''}`;
      const page = readPage(request, scope, ['', '', '', '']);
      let query = read.selectFrom('shadow_conflicts').selectAll();
      if (!includeSettled) query = query.where('is_open', '=', 1);
      if (parent.site !== '-') {
        await requireSite(read, parent.site);
        query = query.where('site_id', '=', parent.site);
      }
      if (parent.device !== '') query = query.where('device_id', '=', parent.device);
      const { after } = page;
      if (after !== undefined) {
        // As one value: a chain of alternatives would find no index.
        query = query.where((eb) =>
          eb(
            eb.refTuple('site_id', 'device_id', 'shadow', 'conflict_id'),
            '>',
            eb.tuple(after[0], after[1], after[2], after[3]),
          ),
        );
      }
      const rows = await query
        .orderBy('site_id')
        .orderBy('device_id')
        .orderBy('shadow')
        .orderBy('conflict_id')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, (row) => [
        row.site_id,
        row.device_id,
        row.shadow,
        row.conflict_id,
      ]);
      return { conflicts: cut.rows.map(conflictMessage), nextPageToken: cut.nextPageToken };
    },

    settleConflict: async ({ name, keep }, { caller }) => {
      const { conflict, ...key } = parseConflictName(name);
      const kept = requireKeep(keep);
      await engine.write(async (tx) => {
        const row = await requireConflict(tx.db, key, conflict);
        if (row.is_open === 0) throw settledAlready(row);
        await changeShadow(deps, tx, { ...key, writer: writerOf(caller) }, (before, context) => {
          const changed = settle(before, conflict, kept, context);
          checkGrowth(before, changed.shadow, limits);
          return changed;
        });
      });
      return conflictMessage(await requireConflict(read, key, conflict));
    },
  };
};

/** Errors: RESOURCE_NOT_FOUND, RESOURCE_STATE_WRONG where the value is not the control plane's to write. */
const settle = (
  before: ShadowReplica,
  id: string,
  keep: Keep,
  context: WriteContext,
): ShadowChange => {
  const conflict = conflictsOf(before.state).find((one) => conflictId(one) === id);
  if (conflict === undefined) throw noConflict();
  const edit = settlementEdit(conflict, keep);
  if (edit.path[0] === 'reported' && edit.value !== undefined) {
    throw new HoldfastError(
      'RESOURCE_STATE_WRONG',
      'What is reported is written by the device alone: its next report settles this',
    );
  }
  return writeSettlement(before, edit, context);
};

/** Errors: REQUEST_INVALID. */
const requireKeep = (keep: ConflictKeep): Keep => {
  if (keep === ConflictKeep.CONFLICT_KEEP_WINNER) return 'winner';
  if (keep === ConflictKeep.CONFLICT_KEEP_LOSER) return 'loser';
  throw new HoldfastError('REQUEST_INVALID', 'keep must be the winner or the loser');
};

/** Errors: RESOURCE_NOT_FOUND. */
const requireConflict = async (
  db: Kysely<Schema>,
  { site, device, shadow }: ShadowKey,
  conflict: string,
): Promise<ConflictRow> => {
  const row = await db
    .selectFrom('shadow_conflicts')
    .selectAll()
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .where('shadow', '=', shadow)
    .where('conflict_id', '=', conflict)
    .executeTakeFirst();
  if (row === undefined) throw noConflict();
  return row;
};

const noConflict = (): HoldfastError =>
  new HoldfastError('RESOURCE_NOT_FOUND', 'There is no such conflict, or not any more', {
    data: { next: 'holdfast shadow conflicts' },
  });

const settledAlready = ({ settled_by, kept }: ConflictRow): HoldfastError =>
  new HoldfastError(
    'RESOURCE_STATE_WRONG',
    `It was settled already${settled_by ? ` by ${settled_by}` : ''}: ${keptTexts[kept ?? 'other']}. To have something else, write it`,
    { data: { next: 'holdfast shadow set DEVICE key=value' } },
  );

const keptTexts = {
  winner: 'what had won was kept',
  loser: 'what had lost was kept',
  other: 'something else was written over both',
} as const;

/** `sites/-`, `sites/{site}` or `sites/{site}/devices/{device}`. */
const parseConflictsParent = (parent: string): DeviceKey => {
  if (parent.includes('/devices/')) return parseDeviceName(parent);
  const [site = ''] = parseName(parent, 'sites/{site}', { wildcard: true });
  return { site, device: '' };
};
