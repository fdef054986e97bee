/** The shadows as this replica of them has them, and their conflicts. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';
import type { ConflictSettlementColumns, ShadowHistoryColumns } from './shadow-history-tables.js';

export interface ShadowTables {
  /**
   * Not bound to the device's row: a device that was forgotten here and still speaks at its site comes back, and the merge needs
   * everything that was ever merged.
   */
  shadows: {
    site_id: string;
    device_id: string;
    /** `-` for the classic one. */
    shadow: string;
    /** Counts up at each change here, and never goes back. */
    version: number;
    /** 0 after a deletion. */
    is_present: number;
    /** JSON of {leaves, lost}: operations of protos/semantics/shadow-merge. */
    state: string;
    /** The highest time it ever held: what was forgotten had one too. */
    wall: number;
    counter: number;
    updated_at: number;
  } & ShadowHistoryColumns;
  shadow_conflicts: {
    site_id: string;
    device_id: string;
    shadow: string;
    /** SHA-256 of what names the losing operation. */
    conflict_id: string;
    detected_at: number;
    /** JSON of a `ShadowConflict` of protos/semantics/shadow-merge. */
    conflict: string;
  } & ConflictSettlementColumns;
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('shadows')
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('shadow', 'text', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addColumn('is_present', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('wall', 'bigint', (c) => c.notNull())
    .addColumn('counter', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('shadows_key', ['site_id', 'device_id', 'shadow']),
  schema.createIndex('shadows_by_time').on('shadows').columns(['site_id', 'wall', 'counter']),
  schema
    .createTable('shadow_conflicts')
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('shadow', 'text', (c) => c.notNull())
    .addColumn('conflict_id', 'text', (c) => c.notNull())
    .addColumn('detected_at', 'bigint', (c) => c.notNull())
    .addColumn('conflict', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('shadow_conflicts_key', [
      'site_id',
      'device_id',
      'shadow',
      'conflict_id',
    ]),
];

export const shadowTables: PortableMigration = { name: 'shadows', steps };
