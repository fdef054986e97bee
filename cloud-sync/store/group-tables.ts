/** Groups of devices and who is in them. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface GroupTables {
  groups: {
    group_id: string;
    display_name: string;
    /** JSON object of text by text; empty: the group names its devices. */
    selector: string;
    /** Counts up at each update; the etag. */
    version: number;
    created_at: number;
  };
  /** Also of groups with a selector, kept up to date as labels change. */
  group_members: { group_id: string; site_id: string; device_id: string };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('groups')
    .addColumn('group_id', 'text', (c) => c.primaryKey())
    .addColumn('display_name', 'text', (c) => c.notNull())
    .addColumn('selector', 'text', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull()),
  schema
    .createTable('group_members')
    .addColumn('group_id', 'text', (c) =>
      c.notNull().references('groups.group_id').onDelete('cascade'),
    )
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('group_members_key', ['group_id', 'site_id', 'device_id'])
    .addForeignKeyConstraint(
      'group_members_device',
      ['site_id', 'device_id'],
      'devices',
      ['site_id', 'device_id'],
      (c) => c.onDelete('cascade'),
    ),
  schema
    .createIndex('group_members_by_device')
    .on('group_members')
    .columns(['site_id', 'device_id']),
];

export const groupTables: PortableMigration = { name: 'groups', steps };
