/**
 * The service Commands: taken here, carried to the site as an order in the same transaction, answered through the journal. A caller's id
 * makes a repeated request harmless.
 */
import { randomUUID } from 'node:crypto';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { type Command, CommandsService } from '@holdfast/protos/gen/holdfast/v1/commands';
import type { JsonObject } from '@holdfast/protos/mqtt/json-payload';
import { canonicalJson } from '@holdfast/protos/semantics/canonical-json';
import { requireJsonObject } from '../api/json-field.js';
import { parseDeviceName, parseName, requireId } from '../api/resource-name.js';
import { type ApiService, apiService } from '../api/service.js';
import { type DeviceKey, requireDevice } from '../devices/device-records.js';
import type { Orders } from '../link/orders.js';
import { cutPage, readPage } from '../store/page.js';
import type { SqlEngine, WriteTransaction } from '../store/sql-engine.js';
import { commandMessage } from './command-message.js';
import { findCommand, requireCommand } from './command-records.js';

export interface CommandServiceDependencies {
  readonly engine: SqlEngine;
  readonly orders: Orders;
  readonly now: () => number;
}

const defaultLifetimeMs = 3_600_000;
const longestLifetimeMs = 90 * 86_400_000;
/** A command has to fit into one MQTT message of a small device. */
const payloadLimits = { maxBytes: 60_000, maxDepth: 16 };

export const commandService = (deps: CommandServiceDependencies): ApiService => {
  const { engine, now } = deps;
  const { read } = engine;
  const get = async (key: DeviceKey, id: string) =>
    commandMessage(await requireCommand(read, key, id), now());
  return apiService(CommandsService, {
    createCommand: async ({ parent, commandId, command }) => {
      const key = parseDeviceName(parent);
      const request = parseCommand(commandId, command);
      await engine.write((tx) => insertCommand(deps, tx, key, request));
      return get(key, request.id);
    },

    getCommand: async ({ name }) => {
      const [site = '', device = '', command = ''] = parseName(
        name,
        'sites/{site}/devices/{device}/commands/{command}',
      );
      await requireDevice(read, { site, device });
      return get({ site, device }, command);
    },

    listCommands: async (request) => {
      const key = parseDeviceName(request.parent);
      const scope = `commands of ${request.parent}`;
      const page = readPage(request, scope, [0, '']);
      await requireDevice(read, key);
      let query = read
        .selectFrom('commands')
        .selectAll()
        .where('site_id', '=', key.site)
        .where('device_id', '=', key.device);
      if (page.after !== undefined) {
        const [createdAt, id] = page.after;
        query = query.where((eb) =>
          eb.or([
            eb('created_at', '<', createdAt),
            eb.and([eb('created_at', '=', createdAt), eb('command_id', '<', id)]),
          ]),
        );
      }
      // The newest first.
      const rows = await query
        .orderBy('created_at', 'desc')
        .orderBy('command_id', 'desc')
        .limit(page.limit + 1)
        .execute();
      const cut = cutPage(rows, page, scope, (row) => [row.created_at, row.command_id]);
      const at = now();
      return {
        commands: cut.rows.map((row) => commandMessage(row, at)),
        nextPageToken: cut.nextPageToken,
      };
    },
  });
};

interface CommandRequest {
  readonly id: string;
  readonly type: string;
  readonly payload: JsonObject;
  /** Undefined: the default after it is taken. */
  readonly expiresAt: number | undefined;
}

/** Errors: REQUEST_INVALID, REQUEST_TOO_LARGE. */
const parseCommand = (commandId: string, command: Command | undefined): CommandRequest => {
  if (command === undefined) throw new HoldfastError('REQUEST_INVALID', 'command is missing');
  const { type, payload, expireTime } = command;
  if (type === '' || type.length > 64) {
    throw new HoldfastError('REQUEST_INVALID', 'type must be 1 to 64 characters');
  }
  return {
    id: commandId === '' ? randomUUID() : requireId(commandId, 'command_id'),
    type,
    payload: requireJsonObject(payload, 'payload', payloadLimits),
    expiresAt: expireTime?.getTime(),
  };
};

/** Errors: RESOURCE_NOT_FOUND (the device), RESOURCE_EXISTS (the id is another command's), REQUEST_INVALID (when it expires). */
const insertCommand = async (
  { orders, now }: CommandServiceDependencies,
  tx: WriteTransaction,
  key: DeviceKey,
  { id, type, payload, expiresAt: asked }: CommandRequest,
): Promise<void> => {
  await requireDevice(tx.db, key);
  const text = canonicalJson(payload);
  const known = await findCommand(tx.db, key, id);
  if (known !== undefined) {
    if (known.type === type && known.payload === text) return;
    throw new HoldfastError('RESOURCE_EXISTS', `There is another command ${id} already`);
  }
  const createdAt = now();
  const expiresAt = asked ?? createdAt + defaultLifetimeMs;
  if (!(expiresAt > createdAt && expiresAt <= createdAt + longestLifetimeMs)) {
    throw new HoldfastError('REQUEST_INVALID', 'expire_time must be within the next 90 days');
  }
  await tx.db
    .insertInto('commands')
    .values({
      site_id: key.site,
      device_id: key.device,
      command_id: id,
      type,
      payload: text,
      state: 'pending',
      response: null,
      error: null,
      created_at: createdAt,
      expires_at: expiresAt,
      responded_at: null,
    })
    .execute();
  const body = { device: key.device, command: id, type, payload, expires_at: expiresAt };
  await orders.append(tx, key.site, [{ kind: 'command', body }]);
};
