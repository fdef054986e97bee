/** How far telemetry had come at what time: points tell their device's time, which may be anything, and not when they arrived. */
import type { SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface RetentionTables {
  telemetry_marks: {
    site_id: string;
    /** Epoch ms by the clock here. */
    at: number;
    /** The last position that had arrived then. */
    position: number;
  };
}

export const retentionTables: PortableMigration = {
  name: 'retention',
  steps: (schema: SchemaModule) => [
    schema
      .createTable('telemetry_marks')
      .addColumn('site_id', 'text', (c) => c.notNull())
      .addColumn('at', 'bigint', (c) => c.notNull())
      .addColumn('position', 'bigint', (c) => c.notNull())
      .addPrimaryKeyConstraint('telemetry_marks_key', ['site_id', 'at']),
    schema.createIndex('commands_by_age').on('commands').column('created_at'),
    schema.createIndex('campaigns_by_end').on('campaigns').column('ended_at'),
  ],
};
