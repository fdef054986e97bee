/** What changed in the shadows, how conflicts were settled, and who is to win them. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface ShadowHistoryTables {
  /** One a writer and commit. */
  shadow_changes: {
    site_id: string;
    /** Counts up per site in the order of the commits here. */
    position: number;
    device_id: string;
    shadow: string;
    /** The shadow's after it; a deletion has that of what it deleted. */
    version: number;
    /** When it was committed here. */
    at: number;
    writer: string;
    /** By the writer's clock; some time after that where the clock was not to be believed. */
    written_at: number;
    is_trusted: number;
    is_deletion: number;
    /** What it counts for in the quota. */
    bytes: number;
    /** JSON of `LeafChange[]` of protos/semantics/shadow-history. */
    changes: string;
  };
  /** Of a site's changes: how many there were, and what was dropped since there was no room. */
  shadow_histories: {
    site_id: string;
    last_position: number;
    bytes: number;
    dropped_changes: number;
    /** When the newest of those had been committed. */
    dropped_until: number;
  };
  conflict_policies: {
    /** `-` for what holds at every site. */
    site_id: string;
    /** JSON of `ConflictRule[]` of protos/semantics/conflict-policy. */
    rules: string;
    version: number;
    updated_at: number;
  };
}

export interface ShadowHistoryColumns {
  /** Every change after this version is kept; below 0: the shadow is older than the history, and has not changed since. */
  history_after: number;
}

export interface ConflictSettlementColumns {
  is_open: number;
  settled_at: number | null;
  /** The writer that settled it; empty where that is not known. */
  settled_by: string | null;
  kept: 'winner' | 'loser' | 'other' | null;
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('shadow_changes')
    .addColumn('site_id', 'text', (c) =>
      c.notNull().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('position', 'bigint', (c) => c.notNull())
    .addColumn('device_id', 'text', (c) => c.notNull())
    .addColumn('shadow', 'text', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('writer', 'text', (c) => c.notNull())
    .addColumn('written_at', 'bigint', (c) => c.notNull())
    .addColumn('is_trusted', 'integer', (c) => c.notNull())
    .addColumn('is_deletion', 'integer', (c) => c.notNull())
    .addColumn('bytes', 'bigint', (c) => c.notNull())
    .addColumn('changes', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('shadow_changes_key', ['site_id', 'position']),
  schema
    .createIndex('shadow_changes_by_device')
    .on('shadow_changes')
    .columns(['site_id', 'device_id', 'position']),
  schema
    .createIndex('shadow_changes_by_time')
    .on('shadow_changes')
    .columns(['site_id', 'at', 'position']),
  schema
    .createTable('shadow_histories')
    .addColumn('site_id', 'text', (c) =>
      c.primaryKey().references('sites.site_id').onDelete('cascade'),
    )
    .addColumn('last_position', 'bigint', (c) => c.notNull())
    .addColumn('bytes', 'bigint', (c) => c.notNull())
    .addColumn('dropped_changes', 'bigint', (c) => c.notNull())
    .addColumn('dropped_until', 'bigint', (c) => c.notNull()),
  schema
    .alterTable('shadows')
    .addColumn('history_after', 'bigint', (c) => c.notNull().defaultTo(-1)),
  schema
    .alterTable('shadow_conflicts')
    .addColumn('is_open', 'integer', (c) => c.notNull().defaultTo(1)),
  schema.alterTable('shadow_conflicts').addColumn('settled_at', 'bigint'),
  schema.alterTable('shadow_conflicts').addColumn('settled_by', 'text'),
  schema.alterTable('shadow_conflicts').addColumn('kept', 'text'),
  schema
    .createIndex('shadow_conflicts_open')
    .on('shadow_conflicts')
    .columns(['is_open', 'site_id', 'device_id', 'shadow', 'conflict_id']),
  schema
    .createIndex('shadow_conflicts_by_age')
    .on('shadow_conflicts')
    .columns(['is_open', 'detected_at']),
  schema
    .createIndex('shadow_conflicts_by_settlement')
    .on('shadow_conflicts')
    .columns(['settled_at']),
  schema
    .createTable('conflict_policies')
    .addColumn('site_id', 'text', (c) => c.primaryKey())
    .addColumn('rules', 'text', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull()),
];

export const shadowHistoryTables: PortableMigration = { name: 'shadow-history', steps };
