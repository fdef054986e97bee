/** The service Shadows: what is desired of a device is written here and travels to its site as an order, in the same transaction. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { ShadowsService } from '@holdfast/protos/gen/holdfast/v1/shadows';
import { shadowRequestLimits } from '@holdfast/protos/mqtt/shadow-payload';
import { shadowBytes } from '@holdfast/protos/semantics/shadow-document';
import { requireJsonObject } from '../api/json-field.js';
import { parseDeviceName, parseName } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import { type DeviceKey, requireDevice } from '../devices/device-records.js';
import { requireSite } from '../sites/site-records.js';
import { cutPage, readPage } from '../store/page.js';
import { type ChangeShadowDependencies, changeShadow } from './change-shadow.js';
import { checkEdits, checkPatch, checkSize } from './shadow-limits.js';
import { conflictMessage, parseShadowName, shadowMessage } from './shadow-messages.js';
import type { ShadowKey } from './shadow-records.js';
import { deleteShadow, writePatch } from './shadow-replica.js';

export interface ShadowServiceOptions {
  readonly maxDocumentBytes?: number;
}

export const shadowService = (
  deps: ChangeShadowDependencies,
  { maxDocumentBytes = shadowBytes.default }: ShadowServiceOptions = {},
): ApiService => {
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
      checkPatch(patch);
      await engine.write((tx) =>
        changeShadow(deps, tx, key, (before, context) => {
          if (version !== undefined && version !== BigInt(before.version)) {
            throw new HoldfastError(
              'RESOURCE_CONFLICT',
              `The shadow has version ${before.version}. Read it again, then change it`,
            );
          }
          checkEdits(before, patch);
          const changed = writePatch(before, patch, context);
          checkSize(before, changed.shadow, maxDocumentBytes);
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

    settleConflict: async () => notYet(),
    listShadowChanges: async () => notYet(),
    // biome-ignore lint/correctness/useYield: it has nothing to tell yet
    watchShadow: async function* () {
      notYet();
    },
    getConflictPolicy: async () => notYet(),
    updateConflictPolicy: async () => notYet(),
  });
};

const notYet = (): never => {
  throw new HoldfastError('METHOD_NOT_ALLOWED', 'This control plane cannot do that yet');
};

const notFound = ({ device, shadow }: ShadowKey): HoldfastError =>
  new HoldfastError(
    'RESOURCE_NOT_FOUND',
    `The device ${device} has no shadow${shadow === '-' ? '' : ` ${shadow}`} yet`,
  );

/** `sites/-`, `sites/{site}` or `sites/{site}/devices/{device}`. */
const parseConflictsParent = (parent: string): DeviceKey => {
  if (parent.includes('/devices/')) return parseDeviceName(parent);
  const [site = ''] = parseName(parent, 'sites/{site}', { wildcard: true });
  return { site, device: '' };
};
