/** The rows of commands. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { Kysely, Selectable } from 'kysely';
import type { DeviceKey } from '../devices/device-records.js';
import type { Schema } from '../store/schema.js';

export type CommandRow = Selectable<Schema['commands']>;

export const findCommand = (
  db: Kysely<Schema>,
  { site, device }: DeviceKey,
  id: string,
): Promise<CommandRow | undefined> =>
  db
    .selectFrom('commands')
    .selectAll()
    .where('site_id', '=', site)
    .where('device_id', '=', device)
    .where('command_id', '=', id)
    .executeTakeFirst();

/** Errors: RESOURCE_NOT_FOUND. */
export const requireCommand = async (
  db: Kysely<Schema>,
  key: DeviceKey,
  id: string,
): Promise<CommandRow> => {
  const row = await findCommand(db, key, id);
  if (row !== undefined) return row;
  throw new HoldfastError('RESOURCE_NOT_FOUND', `There is no command ${id} to ${key.device}`, {
    data: { next: `holdfast command list ${key.site}/${key.device}` },
  });
};
