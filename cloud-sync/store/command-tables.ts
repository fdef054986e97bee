/** Commands to devices, with their responses. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface CommandTables {
  commands: {
    site_id: string;
    device_id: string;
    command_id: string;
    type: string;
    /** JSON. */
    payload: string;
    state: 'pending' | 'delivered' | 'succeeded' | 'failed' | 'expired';
    /** JSON; null without a response. */
    response: string | null;
    error: string | null;
    created_at: number;
    expires_at: number;
    responded_at: number | null;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('commands')
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('command_id', 'text', (c) => c.notNull())
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('payload', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('response', 'text')
    .addColumn('error', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('responded_at', 'bigint')
    .addPrimaryKeyConstraint('commands_key', ['site_id', 'device_id', 'command_id'])
    .addForeignKeyConstraint(
      'commands_device',
      ['site_id', 'device_id'],
      'devices',
      ['site_id', 'device_id'],
      (c) => c.onDelete('cascade'),
    ),
  schema
    .createIndex('commands_by_time')
    .on('commands')
    .columns(['site_id', 'device_id', 'created_at', 'command_id']),
];

export const commandTables: PortableMigration = { name: 'commands', steps };
