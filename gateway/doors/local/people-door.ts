/** HTTPS for people (8444): the local API under `/api/v1`, with a token of somebody who signed in, or the operator's; no certificate is ever asked for. */
import { randomUUID } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { JsonValue } from '@holdfast/protos/mqtt/json-payload';
import type { StoreLog } from '@holdfast/provisioning/storage/store';
import * as v from 'valibot';
import type { Device } from '../../devices/device.js';
import type { CommandView } from '../../jobs/command-rows.js';
import type { Commands } from '../../jobs/commands.js';
import type { LatestValue } from '../../telemetry/latest-values.js';
import { authorise } from '../../trust/authorise.js';
import type { Right } from '../../trust/rights.js';
import type { SerialLines } from '../serial/serial-lines.js';
import { SerialMonitors } from '../serial/serial-monitor.js';
import { type NoteChange, noted } from './change-log.js';
import { type ClaimRoutesDeps, claimRoutes } from './claim-routes.js';
import { lifecycleRow } from './device-life-routes.js';
import { type HttpDoor, type HttpDoorOptions, openHttpDoor } from './http-door.js';
import { type PeopleGateDeps, peopleGate } from './people-gate.js';
import { type PeopleRoutesDeps, peopleRoutes } from './people-routes.js';
import { parseBody } from './request-body.js';
import type { Route, RouteRequest } from './routes.js';
import { serialRoutes } from './serial-routes.js';
import { type ShadowRoutesDeps, shadowRoutes } from './shadow-routes.js';
import { ShadowWatches, type ShadowWatchesOptions } from './shadow-watches.js';

export interface PeopleDoorDeps
  extends Omit<PeopleGateDeps, 'findSession'>,
    PeopleRoutesDeps,
    ClaimRoutesDeps {
  /** Of other parts. */
  readonly routes?: readonly Route[];
  /** What `/api/v1/status` says: at least site, version, link {state, last_contact}, plan {revision, state}, devices {total, online}. */
  readonly status: () => object;
  readonly devices: { get(device: string): Device | undefined; all(): Device[] };
  readonly telemetry: { latest(device: string): LatestValue[] };
  readonly shadows: ShadowRoutesDeps['shadows'];
  readonly commands: Pick<Commands, 'create' | 'get' | 'list'>;
  readonly serialLines: Pick<SerialLines, 'list' | 'find'>;
  /** Stores who asks for a change, before it is made. */
  readonly noteChange: NoteChange;
  readonly now: () => number;
  readonly log: StoreLog;
}

const defaultCommandMs = 3_600_000;
const mostPerPage = 1_000;

const anyJson = v.custom<JsonValue>((value) => value !== undefined, 'Expected a JSON value');
const epochMs = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const newCommand = v.object({
  command_id: v.exactOptional(v.string()),
  type: v.string(),
  payload: v.exactOptional(anyJson),
  expires_at: v.exactOptional(epochMs),
});

export const openPeopleDoor = async (
  deps: PeopleDoorDeps,
  {
    watches: watching,
    ...options
  }: Omit<HttpDoorOptions, 'asksForCertificate'> & { readonly watches?: ShadowWatchesOptions },
): Promise<HttpDoor> => {
  const { devices, telemetry, shadows, commands, fence, now } = deps;

  const deviceOf = ({ params }: RouteRequest): Device => {
    const id = params.get('device') ?? '';
    const device = devices.get(id);
    if (device !== undefined) return device;
    throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no device ${id} at this site`, {
      data: { next: 'holdfast --gateway device list' },
    });
  };

  const listDevices = async ({ query }: RouteRequest): Promise<object> => {
    const after = query.get('page_token') ?? '';
    const size = pageSizeOf(query.get('page_size'));
    const rest = devices
      .all()
      .filter(({ device }) => device > after)
      .sort((a, b) => (a.device < b.device ? -1 : 1));
    const page = rest.slice(0, size);
    const next = rest.length > page.length ? (page.at(-1)?.device ?? '') : '';
    return { devices: page.map(deviceView), next_page_token: next };
  };

  const postCommand = async (request: RouteRequest): Promise<object> => {
    fence.check();
    const { device } = deviceOf(request);
    const { command_id, type, payload, expires_at } = parseBody(newCommand, request.body);
    const view = await commands.create({
      device,
      command: command_id ?? randomUUID(),
      type,
      payload: payload ?? {},
      expiresAt: expires_at ?? now() + defaultCommandMs,
    });
    return commandRow(view);
  };

  const getCommand = async (request: RouteRequest): Promise<object> => {
    const view = await commands.get(deviceOf(request).device, request.params.get('command') ?? '');
    if (view !== undefined) return commandRow(view);
    throw new HoldfastError('RESOURCE_NOT_FOUND', 'there is no such command');
  };

  const get = (path: string, handle: Route['handle']): Route => ({
    method: 'GET',
    path: `/api/v1${path}`,
    right: 'site.read',
    handle,
  });
  const change = (
    method: 'POST' | 'PATCH',
    path: string,
    right: Right,
    handle: Route['handle'],
  ): Route => ({ method, path: `/api/v1${path}`, right, handle });
  const routes: readonly Route[] = [
    ...(deps.routes ?? []),
    get('/status', async () => deps.status()),
    get('/devices', listDevices),
    get('/devices/:device', async (request) => deviceView(deviceOf(request))),
    get('/devices/:device/telemetry', async (request) => ({
      series: telemetry.latest(deviceOf(request).device),
    })),
    get('/devices/:device/commands', async (request) => ({
      commands: (await commands.list(deviceOf(request).device)).map(commandRow),
    })),
    change('POST', '/devices/:device/commands', 'command.send', postCommand),
    get('/devices/:device/commands/:command', getCommand),
  ];
  const { sessions } = deps.people;
  const gate = peopleGate({ ...deps, findSession: (token) => sessions.find(token) });
  const watches = new ShadowWatches(
    {
      history: shadows.history,
      isAllowed: (request) => authorise(gate.identify(request), 'call', 'site.read').allowed,
      now,
    },
    watching,
  );
  const monitors = new SerialMonitors({
    isAllowed: (request) => authorise(gate.identify(request), 'call', 'serial.monitor').allowed,
    now,
  });
  const ours = [
    ...shadowRoutes({ shadows, deviceOf, watches, fence }),
    ...serialRoutes({ lines: deps.serialLines, monitors }),
  ];
  const door = await openHttpDoor(
    {
      routes: [...routes, ...ours, ...claimRoutes(deps), ...peopleRoutes(deps)].map((route) =>
        noted(deps.noteChange, route),
      ),
      log: deps.log,
      ...gate,
    },
    { ...options, asksForCertificate: false },
  );
  return {
    ...door,
    close: () => {
      watches.close();
      monitors.close();
      return door.close();
    },
  };
};

const pageSizeOf = (text: string | null): number => {
  const size = Number(text ?? mostPerPage);
  if (Number.isSafeInteger(size) && size >= 0) return Math.min(size || mostPerPage, mostPerPage);
  throw new HoldfastError('REQUEST_INVALID', 'page_size is a number');
};

const deviceView = (device: Device) => ({
  device: device.device,
  model: device.model,
  serial_no: device.serialNo,
  firmware_version: device.firmwareVersion,
  hardware: device.hardware,
  online: device.session !== null,
  last_seen: device.lastSeen,
  door: device.door,
  enrolled_at: device.enrolledAt,
  lifecycle: lifecycleRow(device.lifecycle),
});

const commandRow = (view: CommandView) => ({
  device: view.device,
  command: view.command,
  type: view.type,
  payload: view.payload,
  state: view.state,
  response: view.response,
  error: view.error,
  created_at: view.createdAt,
  expires_at: view.expiresAt,
  answered_at: view.answeredAt,
});
