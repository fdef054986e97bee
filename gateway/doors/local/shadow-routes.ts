/** The local API for shadows: what they are, changing them, their conflicts, and what changed in them. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import {
  type ShadowChangesAnswer,
  type ShadowConflictRow,
  type ShadowConflictsAnswer,
  type ShadowListAnswer,
  settleRequest,
} from '@holdfast/protos/local/shadows';
import { isShadowName } from '@holdfast/protos/mqtt/device-id';
import { isJsonObject, type JsonObject, type JsonValue } from '@holdfast/protos/mqtt/json-payload';
import { classicShadow } from '@holdfast/protos/semantics/shadow-document';
import type { ShadowOperation, ShadowPath } from '@holdfast/protos/semantics/shadow-merge';
import * as v from 'valibot';
import type { Device } from '../../devices/device.js';
import type { ShadowView } from '../../shadows/shadow-change.js';
import type { ConflictPlace, ListedConflict } from '../../shadows/shadow-conflicts.js';
import {
  type HistoryPosition,
  parsePosition,
  positionText,
} from '../../shadows/shadow-history-rows.js';
import type { ShadowRequest, Shadows } from '../../shadows/shadows.js';
import type { ShadowKey } from '../../shadows/stored-shadow.js';
import { actorOf } from './people-routes.js';
import { parseBody } from './request-body.js';
import type { Route, RouteRequest } from './routes.js';
import { changeRow, type ShadowWatches } from './shadow-watches.js';

export interface ShadowRoutesDeps {
  readonly shadows: Pick<
    Shadows,
    'get' | 'request' | 'namesOf' | 'list' | 'conflicts' | 'conflictLosses' | 'history'
  >;
  /** Throws RESOURCE_NOT_FOUND. */
  readonly deviceOf: (request: RouteRequest) => Device;
  readonly watches: Pick<ShadowWatches, 'answer'>;
  /** Throws GATEWAY_FENCED: then nothing can be changed here. */
  readonly fence: { check(): void };
}

const mostPerPage = 500;

const jsonObject = v.custom<JsonObject>(
  (value) => isJsonObject(value as JsonValue),
  'Expected an object',
);
const shadowPatch = v.strictObject({
  state: v.strictObject({ desired: v.nullable(jsonObject) }),
  version: v.exactOptional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
});

export const shadowRoutes = ({
  shadows,
  deviceOf,
  watches,
  fence,
}: ShadowRoutesDeps): readonly Route[] => {
  const keyOf = (request: RouteRequest): ShadowKey => {
    const name = request.params.get('name') ?? classicShadow;
    if (name !== classicShadow && !isShadowName(name)) {
      throw new HoldfastError('REQUEST_INVALID', 'that cannot be the name of a shadow');
    }
    return { device: deviceOf(request).device, name };
  };

  const list = async (request: RouteRequest): Promise<ShadowListAnswer> => {
    const states = await shadows.list(deviceOf(request).device);
    return {
      shadows: states.map(({ name }) => name),
      states: states.map(({ name, version, updatedAt, conflicts }) => ({
        shadow: name,
        version,
        updated_at: updatedAt,
        conflicts,
      })),
    };
  };

  const get = async (request: RouteRequest): Promise<object> => {
    const key = keyOf(request);
    const view = await shadows.get(key);
    if (view !== undefined) return shadowRow(view);
    throw new HoldfastError('RESOURCE_NOT_FOUND', `${key.device} has no such shadow yet`, {
      data: { next: `holdfast --gateway shadow list ${key.device}` },
    });
  };

  const change = async (request: ShadowRequest): Promise<void> => {
    fence.check();
    const outcome = await shadows.request(request);
    if (!outcome.accepted) throw refusalOf(request, outcome.code, outcome.message);
  };

  const patch = async (request: RouteRequest): Promise<object> => {
    const { state, version } = parseBody(shadowPatch, request.body);
    await change({
      ...keyOf(request),
      type: 'update',
      patch: state,
      writer: writerOf(request),
      ...(version === undefined ? {} : { version }),
    });
    return get(request);
  };

  const remove = async (request: RouteRequest): Promise<object> => {
    await change({ ...keyOf(request), type: 'delete', writer: writerOf(request) });
    return {};
  };

  const settle = async (request: RouteRequest): Promise<object> => {
    const body = parseBody(settleRequest, request.body);
    await change({ ...keyOf(request), type: 'settle', writer: writerOf(request), ...body });
    return get(request);
  };

  const conflicts = async (request: RouteRequest): Promise<ShadowConflictsAnswer> => {
    const { query } = request;
    const device = query.get('device') ?? undefined;
    const page = await shadows.conflicts({
      device,
      settled: query.get('state') === 'all',
      after: placeOf(query.get('page_token') ?? ''),
      limit: countOf(query, 'page_size', mostPerPage) ?? mostPerPage,
    });
    // Of a device that is gone there may still be some.
    if (page.conflicts.length === 0 && device !== undefined) {
      deviceOf({ ...request, params: new Map([['device', device]]) });
    }
    const dropped = await shadows.conflictLosses();
    return {
      conflicts: page.conflicts.map(conflictRow),
      next_page_token: page.next === undefined ? '' : `${page.next.detectedAt}.${page.next.row}`,
      dropped: dropped === undefined ? null : { conflicts: dropped.count, last_at: dropped.lastAt },
    };
  };

  const changes = async (request: RouteRequest): Promise<ShadowChangesAnswer> => {
    const key = keyOf(request);
    const { query } = request;
    const page = await shadows.history.page(key, {
      since: countOf(query, 'since'),
      fromVersion: countOf(query, 'from_version'),
      toVersion: countOf(query, 'to_version'),
      path: pathOf(query.get('path')),
      before: positionOf(query, 'page_token'),
      limit: countOf(query, 'page_size', mostPerPage) ?? mostPerPage,
    });
    const [begin, dropped] = await Promise.all([
      shadows.history.begin(key),
      shadows.history.losses(),
    ]);
    return {
      changes: page.changes.map(changeRow),
      next_page_token: page.next === undefined ? '' : positionText(page.next),
      complete_after_version: begin.version,
      dropped: dropped === undefined ? null : { changes: dropped.count, until: dropped.lastAt },
    };
  };

  const watch = async (request: RouteRequest): Promise<undefined> => {
    const key = keyOf(request);
    const after = positionOf(request.query, 'after');
    const view = await shadows.get(key);
    await watches.answer(request, key, { after, version: view?.version ?? 0 });
  };

  const path = '/api/v1/devices/:device/shadows';
  const read = { method: 'GET', right: 'site.read' } as const;
  const write = { right: 'shadow.write' } as const;
  return [
    { ...read, path: '/api/v1/conflicts', handle: conflicts },
    { ...read, path, handle: list },
    { ...read, path: `${path}/:name`, handle: get },
    { ...read, path: `${path}/:name/changes`, handle: changes },
    { ...read, path: `${path}/:name/watch`, handle: watch },
    { ...write, method: 'PATCH', path: `${path}/:name`, handle: patch },
    { ...write, method: 'DELETE', path: `${path}/:name`, handle: remove },
    { ...write, method: 'POST', path: `${path}/:name/settle`, handle: settle },
  ];
};

/** Whom the shadow names as the writer of what people change here. */
const writerOf = ({ who }: RouteRequest): `site:${string}` => `site:${actorOf(who)}`;

const refusalOf = (
  { type, device }: ShadowRequest,
  code: number,
  message: string,
): HoldfastError => {
  const next =
    type === 'settle'
      ? `holdfast --gateway shadow conflicts ${device}`
      : `holdfast --gateway shadow get ${device}`;
  if (code === 404) return new HoldfastError('RESOURCE_NOT_FOUND', message, { data: { next } });
  if (code === 409) return new HoldfastError('RESOURCE_CONFLICT', message, { data: { next } });
  if (code === 413) return new HoldfastError('REQUEST_TOO_LARGE', message);
  return new HoldfastError(code === 429 ? 'REQUEST_THROTTLED' : 'REQUEST_INVALID', message);
};

const countOf = (query: URLSearchParams, name: string, most?: number): number | undefined => {
  const text = query.get(name);
  if (text === null) return undefined;
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 0 || text === '') {
    throw new HoldfastError('REQUEST_INVALID', `${name} is a whole number`);
  }
  return most === undefined ? count : Math.min(count || most, most);
};

const positionOf = (query: URLSearchParams, name: string): HistoryPosition | undefined => {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  const position = parsePosition(text);
  if (position !== undefined) return position;
  throw new HoldfastError('REQUEST_INVALID', `${name} is a position, or a version`);
};

const placeOf = (text: string): ConflictPlace | undefined => {
  if (text === '') return undefined;
  const [, detectedAt, row] = /^(\d{1,15})\.(\d{1,15})$/.exec(text) ?? [];
  if (detectedAt !== undefined) return { detectedAt: Number(detectedAt), row: Number(row) };
  throw new HoldfastError('REQUEST_INVALID', 'page_token is what an answer before had');
};

const pathOf = (text: string | null): ShadowPath | undefined => {
  if (text === null) return undefined;
  try {
    return v.parse(v.array(v.string()), JSON.parse(text));
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', 'path is a JSON list, as ["desired","mode"]', {
      cause,
    });
  }
};

const shadowRow = ({ state, metadata, delta, version, timestamp }: ShadowView) => ({
  // A section that is not there is left out, as the control plane shows it.
  ...state,
  ...(delta === undefined ? {} : { delta: delta.state }),
  metadata,
  version,
  timestamp,
});

const conflictRow = (conflict: ListedConflict): ShadowConflictRow => ({
  conflict: conflict.conflictId,
  shadow: `devices/${conflict.device}/shadows/${conflict.name}`,
  path: [...conflict.path],
  winner: { ...writeRow(conflict.winner), ...elsewhere(conflict) },
  loser: writeRow(conflict.loser),
  detected_at: conflict.detectedAt,
  settlement: conflict.settlement ?? null,
});

/** A write above a leaf or below it may have won. */
const elsewhere = ({ path, winner }: ListedConflict): { path?: string[] } =>
  winner === undefined || winner.path.length === path.length ? {} : { path: [...winner.path] };

/** Nothing stands for a deletion that is forgotten. */
const writeRow = (operation: ShadowOperation | undefined): ShadowConflictRow['loser'] => ({
  writer: operation?.stamp.writer ?? '',
  at: operation?.stamp.wall ?? null,
  trusted: operation?.trusted !== false,
  value_json: operation?.value === undefined ? '' : JSON.stringify(operation.value),
});
