/** The service Shadows: what is desired of a device is written here and travels to its site as an order, in the same transaction. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { ShadowsService } from '@holdfast/protos/gen/holdfast/v1/shadows';
import { shadowRequestLimits } from '@holdfast/protos/mqtt/shadow-payload';
import {
  editsOf,
  faultOfPatch,
  renderShadow,
  sizeOfDocument,
} from '@holdfast/protos/semantics/shadow-document';
import { requireJsonObject } from '../api/json-field.js';
import { parseDeviceName, parseName } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import { type DeviceKey, requireDevice } from '../devices/device-records.js';
import type { NewOrder, Orders } from '../link/orders.js';
import { requireSite } from '../sites/site-records.js';
import { cutPage, readPage } from '../store/page.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { conflictMessage, parseShadowName, shadowMessage } from './shadow-messages.js';
import { latestTimeOf, readShadow, type ShadowKey, storeShadow } from './shadow-records.js';
import {
  deleteShadow,
  type ShadowChange,
  type ShadowReplica,
  type WriteContext,
  writePatch,
} from './shadow-replica.js';

export interface ShadowServiceDependencies {
  readonly engine: SqlEngine;
  readonly orders: Orders;
  readonly now: () => number;
}

/** As at the gateway, which would take no larger ones from its devices. */
const maxDocumentBytes = 8_192;
const maxDepth = 8;
/** Leaves, and deletions that the site has not confirmed yet. */
const maxLeaves = 1_000;

export const shadowService = (deps: ShadowServiceDependencies): ApiService => {
  const { engine } = deps;
  const { read } = engine;
  const get = async (key: ShadowKey) => {
    const row = await read
      .selectFrom('shadows')
      .selectAll()
      .where('site_id', '=', key.site)
      .where('device_id', '=', key.device)
      .where('shadow', '=', key.shadow)
      .where('is_present', '=', 1)
      .executeTakeFirst();
    if (row === undefined) throw notFound(key);
    return shadowMessage(row);
  };
  return apiService(ShadowsService, {
    getShadow: async ({ name }) => {
      const key = parseShadowName(name);
      await requireDevice(read, key);
      return get(key);
    },

    listShadows: async (request) => {
      const key = parseDeviceName(request.parent);
      const scope = `shadows of ${request.parent}`;
      const page = readPage(request, scope, ['']);
      await requireDevice(read, key);
      let query = read
        .selectFrom('shadows')
        .selectAll()
        .where('site_id', '=', key.site)
        .where('device_id', '=', key.device)
        .where('is_present', '=', 1);
      if (page.after !== undefined) query = query.where('shadow', '>', page.after[0]);
      const rows = await query
        .orderBy('shadow')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, ({ shadow }) => [shadow]);
      return { shadows: cut.rows.map(shadowMessage), nextPageToken: cut.nextPageToken };
    },

    updateShadow: async ({ name, desired, version }) => {
      const key = parseShadowName(name);
      const patch = { desired: requireJsonObject(desired, 'desired', shadowRequestLimits) };
      const fault = faultOfPatch(patch, maxDepth);
      if (fault !== undefined) throw new HoldfastError('REQUEST_INVALID', fault);
      await engine.write((tx) =>
        changeShadow(deps, tx, key, (before, context) => {
          if (version !== undefined && version !== BigInt(before.version)) {
            throw new HoldfastError(
              'RESOURCE_CONFLICT',
              `The shadow has version ${before.version}. Read it again, then change it`,
            );
          }
          if (editsOf(before.state, patch).length > maxLeaves) throw tooLarge(leavesText);
          const changed = writePatch(before, patch, context);
          checkSize(before, changed.shadow);
          return changed;
        }),
      );
      return get(key);
    },

    deleteShadow: async ({ name }) => {
      const key = parseShadowName(name);
      await engine.write((tx) =>
        changeShadow(deps, tx, key, (before, context) => {
          if (!before.exists) throw notFound(key);
          return deleteShadow(before, context);
        }),
      );
      return {};
    },

    listConflicts: async (request) => {
      const parent = parseConflictsParent(request.parent);
      const scope = `conflicts of ${request.parent}`;
      const page = readPage(request, scope, ['', '', '', '']);
      let query = read.selectFrom('shadow_conflicts').selectAll();
      if (parent.site !== '-') {
        await requireSite(read, parent.site);
        query = query.where('site_id', '=', parent.site);
      }
      if (parent.device !== '') query = query.where('device_id', '=', parent.device);
      if (page.after !== undefined) {
        const [site, device, shadow, conflict] = page.after;
        query = query.where((eb) =>
          eb.or([
            eb('site_id', '>', site),
            eb.and([eb('site_id', '=', site), eb('device_id', '>', device)]),
            eb.and([
              eb('site_id', '=', site),
              eb('device_id', '=', device),
              eb('shadow', '>', shadow),
            ]),
            eb.and([
              eb('site_id', '=', site),
              eb('device_id', '=', device),
              eb('shadow', '=', shadow),
              eb('conflict_id', '>', conflict),
            ]),
          ]),
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
  });
};

/** Decides on what is committed, stores it, and tells the site. */
export const changeShadow = async (
  { engine, orders, now }: ShadowServiceDependencies,
  tx: WriteTransaction,
  key: ShadowKey,
  decide: (before: ShadowReplica, context: WriteContext) => ShadowChange,
): Promise<void> => {
  await requireDevice(tx.db, key);
  const before = await readShadow(tx.db, key);
  const context: WriteContext = {
    replica: replicaName(engine),
    seen: await latestTimeOf(tx.db, key.site),
    now: now(),
  };
  const changed = decide(before, context);
  await storeShadow(tx.db, key, before, changed.shadow, context.now);
  await orders.append(tx, key.site, ordersOf(key, changed));
};

/** A database that was made anew has another log, so what it mints is not taken for what the lost one had written. */
export const replicaName = ({ log }: Pick<SqlEngine, 'log'>): string => log.slice(0, 12);

/** What the site is told of a change; nothing when there is nothing to tell. */
export const ordersOf = (
  { device, shadow }: ShadowKey,
  { operations, dead, isDeletion = false }: Omit<ShadowChange, 'shadow'>,
): NewOrder[] => {
  if (operations.length + dead.length === 0 && !isDeletion) return [];
  return [
    {
      kind: 'shadow',
      body: {
        device,
        shadow,
        operations: [...operations],
        ...(dead.length === 0 ? {} : { dead: [...dead] }),
        ...(isDeletion ? { deleted: true } : {}),
      },
    },
  ];
};

/** Who only takes away is let through, or a full shadow could not be emptied. Errors: REQUEST_TOO_LARGE. */
const checkSize = (before: ShadowReplica, after: ShadowReplica): void => {
  const size = sizeOfDocument(renderShadow(after.state).state);
  const isLarger = size > sizeOfDocument(renderShadow(before.state).state);
  if (isLarger && size > maxDocumentBytes) {
    throw tooLarge(`The shadow would have ${size} bytes, ${maxDocumentBytes} are allowed`);
  }
  const { size: leaves } = after.state.leaves;
  if (leaves > maxLeaves && leaves > before.state.leaves.size) throw tooLarge(leavesText);
};

const leavesText = `The shadow would have more than ${maxLeaves} leaves, deletions that its site has not confirmed yet among them`;

const tooLarge = (text: string): HoldfastError => new HoldfastError('REQUEST_TOO_LARGE', text);

const notFound = ({ device, shadow }: ShadowKey): HoldfastError =>
  new HoldfastError('RESOURCE_NOT_FOUND', `The device ${device} has no shadow ${shadow}`);

/** `sites/-`, `sites/{site}` or `sites/{site}/devices/{device}`. */
const parseConflictsParent = (parent: string): DeviceKey => {
  if (parent.includes('/devices/')) return parseDeviceName(parent);
  const [site = ''] = parseName(parent, 'sites/{site}', { wildcard: true });
  return { site, device: '' };
};
