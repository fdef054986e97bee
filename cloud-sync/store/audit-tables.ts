/** Who did what; rows are only ever added, and forgotten by their age. Times are epoch ms. */
import type { Compilable, SchemaModule } from 'kysely';
import type { PortableMigration } from './migration.js';

export interface AuditTables {
  audit_entries: {
    /** Rises from entry to entry. */
    number: number;
    /** By the clock of where it was done. */
    at: number;
    recorded_at: number;
    /** `cloud:{name}`, `site:{name}`; `cloud` and `site` for what the programs did by themselves. */
    actor: string;
    /** As `campaign.started`. */
    action: string;
    /** As `campaigns/{campaign}`; empty for none. */
    resource: string;
    /** Empty for none. */
    site_id: string;
    reason: string;
    /** JSON object. */
    details: string;
  };
}

const steps = (schema: SchemaModule): Compilable[] => [
  schema
    .createTable('audit_entries')
    .addColumn('number', 'bigint', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('recorded_at', 'bigint', (c) => c.notNull())
    .addColumn('actor', 'text', (c) => c.notNull())
    .addColumn('action', 'text', (c) => c.notNull())
    .addColumn('resource', 'text', (c) => c.notNull())
    .addColumn('site_id', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('details', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('audit_entries_key', ['number']),
  schema
    .createIndex('audit_entries_by_resource')
    .on('audit_entries')
    .columns(['resource', 'number']),
  schema.createIndex('audit_entries_by_site').on('audit_entries').columns(['site_id', 'number']),
  schema.createIndex('audit_entries_by_time').on('audit_entries').column('recorded_at'),
];

export const auditTables: PortableMigration = { name: 'audit', steps };
