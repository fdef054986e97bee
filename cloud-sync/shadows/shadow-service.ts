/** The service Shadows: what is desired of a device is written here and travels to its site as an order, in the same transaction. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { ShadowsService } from '@holdfast/protos/gen/holdfast/v1/shadows';
import { shadowRequestLimits } from '@holdfast/protos/mqtt/shadow-payload';
import { defaultShadowLimits, type ShadowLimits } from '@holdfast/protos/semantics/shadow-limits';
import { writerOf } from '../api/caller.js';
import { requireJsonObject } from '../api/json-field.js';
import { parseDeviceName } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import type { Signals } from '../bus/signals.js';
import { requireDevice } from '../devices/device-records.js';
import type { PlanPublisher } from '../sites/plan-publisher.js';
import { cutPage, readPage } from '../store/page.js';
import { changeMethods } from './change-methods.js';
import { type ChangeShadowDependencies, changeShadow } from './change-shadow.js';
import { conflictMethods } from './conflict-methods.js';
import { conflictPolicyMethods } from './conflict-policy-methods.js';
import { checkEdits, checkGrowth, checkPatch } from './shadow-limits.js';
import { parseShadowName, shadowMessage } from './shadow-messages.js';
import type { ShadowKey } from './shadow-records.js';
import { deleteShadow, writePatch } from './shadow-replica.js';
import { ShadowWatches } from './watch-shadow.js';

export interface ShadowServiceDependencies extends ChangeShadowDependencies {
  readonly plans: PlanPublisher;
  readonly signals: Signals;
}

export const shadowService = (
  deps: ShadowServiceDependencies,
  options: Partial<ShadowLimits> = {},
): ApiService => {
  const { engine } = deps;
  const limits = { ...defaultShadowLimits, ...options };
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

    updateShadow: async ({ name, desired, version }, { caller }) => {
      const key = parseShadowName(name);
      const patch = { desired: requireJsonObject(desired, 'desired', shadowRequestLimits) };
      checkPatch(patch, limits);
      await engine.write((tx) =>
        changeShadow(deps, tx, { ...key, writer: writerOf(caller) }, (before, context) => {
          if (version !== undefined && version !== BigInt(before.version)) {
            throw new HoldfastError(
              'RESOURCE_CONFLICT',
              `The shadow has version ${before.version}. Read it again, then change it`,
            );
          }
          checkEdits(before, patch, limits);
          const changed = writePatch(before, patch, context);
          checkGrowth(before, changed.shadow, limits);
          return changed;
        }),
      );
      return get(key);
    },

    deleteShadow: async ({ name }, { caller }) => {
      const key = parseShadowName(name);
      await engine.write((tx) =>
        changeShadow(deps, tx, { ...key, writer: writerOf(caller) }, (before, context) => {
          if (!before.exists) throw notFound(key);
          return deleteShadow(before, context);
        }),
      );
      return {};
    },

    ...conflictMethods({ ...deps, limits }),
    ...changeMethods({ engine, watches: new ShadowWatches(deps) }),
    ...conflictPolicyMethods(deps),
  });
};

const notFound = ({ device, shadow }: ShadowKey): HoldfastError =>
  new HoldfastError(
    'RESOURCE_NOT_FOUND',
    `The device ${device} has no shadow${shadow === '-' ? '' : ` ${shadow}`} yet`,
  );
