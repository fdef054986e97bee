/** The methods about what changed in shadows: as a list, and as it happens. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type {
  ListShadowChangesRequest,
  ShadowsService,
} from '@holdfast/protos/gen/holdfast/v1/shadows';
import { parseDeviceName, parseSiteName } from '../api/resource-name.js';
import type { Handlers } from '../api/service.js';
import { requireDevice } from '../devices/device-records.js';
import { requireSite } from '../sites/site-records.js';
import { pageToken, readPage } from '../store/page.js';
import type { SqlEngine } from '../store/sql-engine.js';
import { type ChangeFilter, listChanges } from './list-changes.js';
import {
  changeMessage,
  noShadowMessage,
  parseShadowName,
  shadowMessage,
} from './shadow-messages.js';
import type { ShadowKey } from './shadow-records.js';
import type { ShadowWatches, WatchedShadow } from './watch-shadow.js';

export interface ChangeMethodsDependencies {
  readonly engine: SqlEngine;
  readonly watches: ShadowWatches;
}

type ChangeMethods = Pick<Handlers<typeof ShadowsService>, 'listShadowChanges' | 'watchShadow'>;

export const changeMethods = ({ engine, watches }: ChangeMethodsDependencies): ChangeMethods => {
  const { read } = engine;
  const requireParent = async ({ site, device }: Parent): Promise<void> => {
    if (device === undefined) await requireSite(read, site);
    else await requireDevice(read, { site, device });
  };
  const historyOf = (site: string) =>
    read.selectFrom('shadow_histories').selectAll().where('site_id', '=', site).executeTakeFirst();
  /** 0 where there is no such shadow. */
  const completeAfter = async ({ site, device, shadow }: Parent): Promise<number> => {
    if (device === undefined || shadow === undefined) return 0;
    const row = await read
      .selectFrom('shadows')
      .select(['history_after', 'version'])
      .where('site_id', '=', site)
      .where('device_id', '=', device)
      .where('shadow', '=', shadow)
      .executeTakeFirst();
    if (row === undefined) return 0;
    return row.history_after < 0 ? row.version : row.history_after;
  };
  return {
    listShadowChanges: async (request) => {
      const parent = parseParent(request.parent);
      const filter = filterOf(request, parent);
      const scope = `changes ${JSON.stringify(filter)}`;
      const page = readPage(request, scope, [0]);
      await requireParent(parent);
      const { rows, next } = await listChanges(read, filter, {
        before: page.after?.[0],
        limit: page.limit,
      });
      const history = await historyOf(parent.site);
      const dropped = history?.dropped_changes ?? 0;
      return {
        changes: rows.map(changeMessage),
        nextPageToken: next === undefined ? '' : pageToken(scope, [next]),
        completeAfterVersion: BigInt(await completeAfter(parent)),
        droppedChanges: BigInt(dropped),
        droppedUntilTime: dropped === 0 ? undefined : new Date(history?.dropped_until ?? 0),
      };
    },

    watchShadow: async function* ({ name, afterVersion }, { signal }) {
      const key = parseShadowName(name);
      await requireDevice(read, key);
      const after = afterVersion === undefined ? undefined : requireVersion(afterVersion);
      for await (const said of watches.watch(key, after, signal)) yield watchMessage(key, said);
    },
  };
};

const watchMessage = (key: ShadowKey, said: WatchedShadow) => {
  if (said.kind === 'alive') return { shadow: undefined, changes: [] };
  if (said.kind === 'changes') return { shadow: undefined, changes: said.rows.map(changeMessage) };
  const shadow = said.row === undefined ? noShadowMessage(key) : shadowMessage(said.row);
  return { shadow, changes: [] };
};

interface Parent {
  readonly site: string;
  readonly device?: string;
  readonly shadow?: string;
}

/** Errors: REQUEST_INVALID. */
const parseParent = (parent: string): Parent => {
  if (parent.includes('/shadows/')) return parseShadowName(parent);
  return parent.includes('/devices/') ? parseDeviceName(parent) : { site: parseSiteName(parent) };
};

/** Errors: REQUEST_INVALID. */
const filterOf = (request: ListShadowChangesRequest, parent: Parent): ChangeFilter => {
  const { startTime, endTime, path, writer, afterVersion, untilVersion } = request;
  if ((afterVersion ?? untilVersion) !== undefined && parent.shadow === undefined) {
    throw new HoldfastError('REQUEST_INVALID', 'Versions are a shadow’s: name one as parent');
  }
  if (path.length > 64 || writer.length > 256) {
    throw new HoldfastError('REQUEST_INVALID', 'path or writer is longer than any can be');
  }
  return {
    ...parent,
    start: startTime?.getTime(),
    end: endTime?.getTime(),
    path,
    writer,
    afterVersion: afterVersion === undefined ? undefined : requireVersion(afterVersion),
    untilVersion: untilVersion === undefined ? undefined : requireVersion(untilVersion),
  };
};

/** Errors: REQUEST_INVALID. */
const requireVersion = (version: bigint): number => {
  if (version <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(version);
  throw new HoldfastError('REQUEST_INVALID', 'no shadow has that version');
};
