/** Shadows over the gateway's local API. */
import {
  type ShadowChangeRow,
  type ShadowConflictRow,
  shadowChangesAnswer,
  shadowConflictsAnswer,
  shadowListAnswer,
  shadowWatchLine,
} from '@holdfast/protos/local/shadows';
import * as v from 'valibot';
import { deviceAtGateway } from '../../device-name.js';
import type { GatewayClient } from '../../gateway-client.js';
import type { ChangeRow, ConflictRow, WriteRow } from './shadow-rows.js';
import type { ShadowChoice, ShadowSource, WatchEvent } from './shadow-source.js';

const object = v.record(v.string(), v.unknown());
const shadowAnswer = v.looseObject({
  desired: v.optional(object),
  reported: v.optional(object),
  delta: v.optional(object),
  version: v.number(),
});

const perPage = 500;

export const gatewayShadows = (client: GatewayClient): ShadowSource => {
  const deviceOf = ({ device, site }: Omit<ShadowChoice, 'name'>): Promise<string> =>
    deviceAtGateway(client, device, site);
  const pathOf = async (shadow: ShadowChoice, query = {}, below = ''): Promise<string> => {
    const device = encodeURIComponent(await deviceOf(shadow));
    const name = encodeURIComponent(shadow.name);
    return `/devices/${device}/shadows/${name}${below}${queryText(query)}`;
  };
  return {
    whenItReaches: 'at the gateway',

    get: async (shadow) => v.parse(shadowAnswer, await client.get(await pathOf(shadow))),

    async list(of) {
      const device = await deviceOf(of);
      const answer = await client.get(`/devices/${encodeURIComponent(device)}/shadows`);
      return v.parse(shadowListAnswer, answer).states.map((row) => ({
        shadow: row.shadow,
        version: row.version,
        update_time: new Date(row.updated_at),
        conflicts: row.conflicts,
      }));
    },

    set: async (shadow, desired, version) =>
      v.parse(
        shadowAnswer,
        await client.patch(await pathOf(shadow), {
          state: { desired },
          ...(version === undefined ? {} : { version }),
        }),
      ),

    async conflicts({ site, device, settled }) {
      const of = device === undefined ? undefined : await deviceOf({ device, site });
      const rows: ConflictRow[] = [];
      let dropped = 0;
      let pageToken = '';
      do {
        const query = { page_size: perPage, page_token: pageToken, device: of };
        const state = settled ? { state: 'all' } : {};
        const text = `/conflicts${queryText({ ...query, ...state })}`;
        const page = v.parse(shadowConflictsAnswer, await client.get(text));
        rows.push(...page.conflicts.map(conflictOf));
        dropped = page.dropped?.conflicts ?? 0;
        pageToken = page.next_page_token;
      } while (pageToken !== '');
      return { conflicts: rows, dropped };
    },

    async settle(shadow, { path, keep, conflict }) {
      const chosen = conflict === undefined ? {} : { conflict };
      const body = { path: [...path], keep, ...chosen };
      return v.parse(shadowAnswer, await client.post(await pathOf(shadow, {}, '/settle'), body));
    },

    async changes(shadow, { since, path, fromVersion, toVersion, most }) {
      const query = {
        since: since?.getTime(),
        path: path && JSON.stringify(path),
        from_version: fromVersion,
        to_version: toVersion,
      };
      const rows: ChangeRow[] = [];
      for (let pageToken = ''; ; ) {
        const size = Math.min(perPage, (most ?? Number.POSITIVE_INFINITY) - rows.length);
        const at = await pathOf(
          shadow,
          { ...query, page_size: size, page_token: pageToken },
          '/changes',
        );
        const page = v.parse(shadowChangesAnswer, await client.get(at));
        rows.push(...page.changes.map(changeOf));
        pageToken = page.next_page_token;
        if (pageToken !== '' && rows.length < (most ?? Number.POSITIVE_INFINITY)) continue;
        const { complete_after_version: completeAfter, dropped } = page;
        return {
          changes: rows.reverse(),
          hasMore: pageToken !== '',
          completeAfter,
          dropped: dropped === null ? undefined : { ...dropped, until: new Date(dropped.until) },
        };
      }
    },

    async *watch(shadow, after, signal) {
      const path = await pathOf(shadow, { after }, '/watch');
      for await (const line of client.lines(path, signal)) yield eventOf(line);
    },
  };
};

const queryText = (query: Readonly<Record<string, string | number | undefined>>): string => {
  const given = Object.entries(query).filter(
    (entry): entry is [string, string | number] => entry[1] !== undefined && entry[1] !== '',
  );
  if (given.length === 0) return '';
  return `?${new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)]))}`;
};

const conflictOf = (row: ShadowConflictRow): ConflictRow => ({
  conflict: row.conflict,
  shadow: row.shadow,
  path: row.path,
  winner: writeOf(row.winner),
  loser: writeOf(row.loser),
  detect_time: new Date(row.detected_at),
  settlement: row.settlement
    ? { kept: row.settlement.kept, by: row.settlement.by, time: new Date(row.settlement.at) }
    : undefined,
});

const writeOf = ({
  writer,
  at,
  trusted,
  value_json,
  path,
}: ShadowConflictRow['loser']): WriteRow => ({
  writer,
  time: at === null ? undefined : new Date(at),
  trusted,
  value_json,
  ...(path === undefined ? {} : { path }),
});

const changeOf = (row: ShadowChangeRow): ChangeRow => ({
  position: row.position,
  device: row.device,
  shadow: row.shadow,
  version: row.version,
  time: new Date(row.at),
  trusted: row.trusted,
  writer: row.writer,
  write_time: row.written_at === null ? undefined : new Date(row.written_at),
  deleted: row.deleted,
  changes: row.changes,
});

const eventOf = (line: unknown): WatchEvent => {
  const said = v.parse(shadowWatchLine, line);
  if ('change' in said) return { kind: 'change', change: changeOf(said.change) };
  if ('alive' in said) return { kind: 'alive' };
  if ('watching' in said) {
    const { position, version } = said.watching;
    return { kind: 'watching', position, version };
  }
  const { after_version: afterVersion, to_version: toVersion, position } = said.missed;
  return { kind: 'missed', afterVersion, toVersion, position };
};
