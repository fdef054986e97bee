/** Shadows over the control plane's gRPC API. */

import type { ServiceError } from '@grpc/grpc-js';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import {
  ConflictKeep,
  ConflictKept,
  type ListShadowChangesResponse,
  type Shadow,
  type ShadowChange,
  type ShadowConflict,
  type ShadowWrite,
  type WatchShadowResponse,
} from '@holdfast/protos/gen/holdfast/v1/shadows';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import type { CloudClient } from '../../cloud-client.js';
import { collect, eachPage } from '../../context.js';
import { resolveDeviceName } from '../../device-name.js';
import { pathText } from './shadow-options.js';
import type { ChangeRow, ConflictRow, ShadowRow, WriteRow } from './shadow-rows.js';
import type { Settle, ShadowChoice, ShadowSource, WatchEvent } from './shadow-source.js';

const perPage = 500;

export const cloudShadows = (client: CloudClient): ShadowSource => {
  const { shadows } = client;
  const deviceOf = ({ device, site }: Omit<ShadowChoice, 'name'>): Promise<string> =>
    resolveDeviceName(client, device, site);
  const nameOf = async (shadow: ShadowChoice): Promise<string> =>
    `${await deviceOf(shadow)}/shadows/${shadow.name}`;
  const conflictsOf = (parent: string, includeSettled: boolean): Promise<ShadowConflict[]> =>
    collect(
      eachPage(async (pageToken) => {
        const request = { parent, pageSize: 1000, pageToken, includeSettled };
        const page = await client.call(shadows, shadows.listConflicts, request);
        return { items: page.conflicts, nextPageToken: page.nextPageToken };
      }),
    );
  return {
    whenItReaches: 'it reaches the device when its site is in contact',

    get: async (shadow) =>
      rowOf(await client.call(shadows, shadows.getShadow, { name: await nameOf(shadow) })),

    async list(of) {
      const parent = await deviceOf(of);
      const all = await collect(
        eachPage(async (pageToken) => {
          const request = { parent, pageSize: 1000, pageToken };
          const page = await client.call(shadows, shadows.listShadows, request);
          return { items: page.shadows, nextPageToken: page.nextPageToken };
        }),
      );
      const open = new Map<string, number>();
      for (const { shadow } of await conflictsOf(parent, false)) {
        open.set(shadow, (open.get(shadow) ?? 0) + 1);
      }
      return all.map(({ name, version, updateTime }) => ({
        shadow: lastOf(name),
        version: Number(version),
        update_time: updateTime,
        conflicts: open.get(name) ?? 0,
      }));
    },

    set: async (shadow, desired, version) =>
      rowOf(
        await client.call(shadows, shadows.updateShadow, {
          name: await nameOf(shadow),
          desired,
          version: version === undefined ? undefined : BigInt(version),
        }),
      ),

    async conflicts({ site, device, settled }) {
      const parent =
        device === undefined ? `sites/${site ?? '-'}` : await deviceOf({ device, site });
      return { conflicts: (await conflictsOf(parent, settled)).map(conflictRow), dropped: 0 };
    },

    async settle(shadow, settle) {
      const name = await nameOf(shadow);
      const open = await conflictsOf(await deviceOf(shadow), false);
      const chosen = chooseConflict(
        open.filter((conflict) => conflict.shadow === name),
        settle,
      );
      const keep =
        settle.keep === 'winner'
          ? ConflictKeep.CONFLICT_KEEP_WINNER
          : ConflictKeep.CONFLICT_KEEP_LOSER;
      await client.call(shadows, shadows.settleConflict, { name: chosen.name, keep });
      return rowOf(await client.call(shadows, shadows.getShadow, { name }));
    },

    async changes(shadow, { since, path, fromVersion, toVersion, most }) {
      const parent = await nameOf(shadow);
      const rows: ChangeRow[] = [];
      const wanted = most ?? Number.POSITIVE_INFINITY;
      let page: ListShadowChangesResponse;
      let pageToken = '';
      do {
        page = await client.call(shadows, shadows.listShadowChanges, {
          ...{ parent, pageSize: Math.min(perPage, wanted - rows.length), pageToken },
          ...{ startTime: since, endTime: undefined, path: [...(path ?? [])], writer: '' },
          afterVersion: fromVersion === undefined ? undefined : BigInt(fromVersion),
          untilVersion: toVersion === undefined ? undefined : BigInt(toVersion),
        });
        rows.push(...page.changes.map(changeRow));
        pageToken = page.nextPageToken;
      } while (pageToken !== '' && rows.length < wanted);
      const { droppedChanges, droppedUntilTime } = page;
      return {
        changes: rows.reverse(),
        hasMore: pageToken !== '',
        completeAfter: Number(page.completeAfterVersion),
        dropped:
          droppedUntilTime === undefined
            ? undefined
            : { changes: Number(droppedChanges), until: droppedUntilTime },
      };
    },

    async *watch(shadow, after, signal) {
      const name = await nameOf(shadow);
      const afterVersion = after === undefined ? undefined : BigInt(after);
      const call = shadows.watchShadow({ name, afterVersion }, client.metadata);
      const stop = (): void => call.cancel();
      signal.addEventListener('abort', stop, { once: true });
      try {
        for await (const said of call as AsyncIterable<WatchShadowResponse>) {
          yield* eventsOf(said, after);
        }
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw fromServiceError(error as ServiceError, call.getPeer()); // a stream of grpc-js throws nothing else
      } finally {
        signal.removeEventListener('abort', stop);
        call.cancel();
      }
    },
  };
};

/** Where a watch goes on from is a version here: every change of one comes at once. */
const eventsOf = (
  { shadow, changes }: WatchShadowResponse,
  after: string | undefined,
): WatchEvent[] => {
  if (shadow !== undefined) {
    const version = Number(shadow.version);
    const position = String(version);
    if (after === undefined) return [{ kind: 'watching', position, version }];
    return [{ kind: 'missed', position, afterVersion: Number(after), toVersion: version }];
  }
  if (changes.length === 0) return [{ kind: 'alive' }];
  return changes.map((change) => ({ kind: 'change', change: changeRow(change) }));
};

/** Errors: RESOURCE_NOT_FOUND; REQUEST_INVALID where it has to be said which. */
const chooseConflict = (
  open: readonly ShadowConflict[],
  { path, keep, conflict }: Settle,
): ShadowConflict => {
  const place = pathText(path);
  const there = open.filter((one) => pathText(one.path) === place);
  const chosen =
    conflict === undefined ? there : there.filter(({ name }) => lastOf(name).startsWith(conflict));
  const [first, ...others] = chosen;
  if (first === undefined) {
    throw new HoldfastError('RESOURCE_NOT_FOUND', `no conflict is open at ${place}`, {
      data: { next: 'holdfast shadow conflicts' },
    });
  }
  // What had won is one and the same.
  if (others.length === 0 || keep === 'winner') return first;
  const ids = chosen.map(
    ({ name, loser }) =>
      `${lastOf(name).slice(0, 8)} (${loser?.valueJson || 'deleted'} by ${loser?.writer})`,
  );
  throw new HoldfastError('REQUEST_INVALID', `several lost at ${place}: ${ids.join(', ')}`, {
    data: { next: 'say which with --conflict ID' },
  });
};

const lastOf = (name: string): string => name.split('/').at(-1) ?? '';

const rowOf = ({ version, ...shadow }: Shadow): ShadowRow => ({
  ...shadow,
  version: Number(version),
});

const keptNames: Partial<Record<ConflictKept, 'winner' | 'loser' | 'other'>> = {
  [ConflictKept.CONFLICT_KEPT_WINNER]: 'winner',
  [ConflictKept.CONFLICT_KEPT_LOSER]: 'loser',
};

const conflictRow = (conflict: ShadowConflict): ConflictRow => ({
  conflict: lastOf(conflict.name),
  shadow: conflict.shadow,
  path: conflict.path,
  winner: writeOf(conflict.winner),
  loser: writeOf(conflict.loser),
  detect_time: conflict.detectTime,
  settlement: conflict.settlement && {
    kept: keptNames[conflict.settlement.kept] ?? 'other',
    by: conflict.settlement.writer,
    time: conflict.settlement.settleTime,
  },
});

const writeOf = (write: ShadowWrite | undefined): WriteRow => ({
  writer: write?.writer ?? '',
  time: write?.time,
  trusted: write?.clockUntrusted !== true,
  value_json: write?.valueJson ?? '',
});

const changeRow = (change: ShadowChange): ChangeRow => ({
  position: String(change.version),
  device: change.shadow.split('/').at(-3) ?? '',
  shadow: lastOf(change.shadow),
  version: Number(change.version),
  time: change.time ?? new Date(0),
  trusted: true,
  writer: change.writer,
  write_time: isOfSite(change.writer) && !change.clockUntrusted ? change.writeTime : undefined,
  deleted: change.deleted,
  changes: change.changes.map(({ path, beforeJson, afterJson }) => ({
    path,
    ...(beforeJson === '' ? {} : { before: JSON.parse(beforeJson) as JsonValue }),
    ...(afterJson === '' ? {} : { after: JSON.parse(afterJson) as JsonValue }),
  })),
});

/** What was written here has no other time than that of its commit. */
const isOfSite = (writer: string): boolean => !writer.startsWith('cloud');
